"""Settings of the transcribe agent, besides those of every agent."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field

from millrace.models.settings import ChildSettings
from millrace.settings import StageSettings
from services.transcribe_agent.domain import SILENT_DB


class TranscribeSettings(StageSettings, ChildSettings):
    """Read from `MILLRACE_…`; documented in docs/configuration.md."""

    whisper_model: str = Field(
        default="tiny.en",
        min_length=1,
        description="Folder or name of a faster-whisper model; tiny.en (English) is bundled, others are downloaded",
    )
    whisper_device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where the model runs")
    whisper_compute_type: str = Field(
        default="auto", description="auto: the fastest that the device has (int8 on a CPU)"
    )
    whisper_threads: int = Field(default=2, ge=1, description="CPU threads of the model")
    transcribe_price_per_second: Decimal = Field(
        default=Decimal(0), ge=0, description="US dollars a second of the local model's work"
    )
    silent_db: float = Field(
        default=SILENT_DB, le=0, description="Media whose loudest second is below this level (dBFS) is silent"
    )
    pause_ms: int = Field(default=300, ge=100, description="Pauses longer than this are cut out before listening")
    max_media_s: int = Field(default=1800, ge=1, description="Longest media that is decoded, in seconds")
    decode_timeout_s: float = Field(default=300.0, gt=0, description="Longest that decoding may take")

    @property
    def places(self) -> int:
        """One for each child: a recording that waited for one would use up its limit, and hold money meanwhile."""
        return min(self.concurrency, self.children) if self.has_local_work else self.concurrency
