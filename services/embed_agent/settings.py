"""Settings of the embed agent, besides those of every agent."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from millrace.models.settings import ChildSettings, EmbeddingSettings
from millrace.settings import StageSettings
from services.embed_agent.together import OffPeak, Patience


class EmbedSettings(StageSettings, EmbeddingSettings, ChildSettings):
    """Read from `MILLRACE_…`; documented in docs/configuration.md."""

    embed_chunker: Literal["auto", "none", "paragraph", "sentence", "fixed"] = Field(
        default="auto",
        description="How texts are cut, unless a command says otherwise; auto: as fits the text. Transcripts are cut "
        "by their times",
    )
    embed_batch: int = Field(
        default=100, ge=1, le=2048, description="Most texts of a call of the API, of however many shares"
    )
    embed_wait_s: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        description="How long texts wait for others to fill a call of the API; 0: they take along what waits, and go",
    )
    embed_short_tokens: int = Field(
        default=1000,
        ge=0,
        description="Shares of at most so many tokens do not wait, unless a replay asks for them, or more than ten "
        "come within a minute",
    )
    embed_off_peak: str | None = Field(
        default=None, description="Time of the day in UTC that what a replay asks for waits for, such as 22:00-06:00"
    )

    @field_validator("embed_off_peak")
    @classmethod
    def _a_window(cls, written: str | None) -> str | None:
        if written is not None:
            OffPeak.read(written)
        return written

    @property
    def patience(self) -> Patience:
        """How long texts wait for others."""
        off_peak = None if self.embed_off_peak is None else OffPeak.read(self.embed_off_peak)
        return Patience(timedelta(seconds=self.embed_wait_s), self.embed_short_tokens, off_peak)
