"""Settings of the embed agent, besides those of every agent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from millrace.models.settings import ChildSettings, EmbeddingSettings
from millrace.settings import StageSettings


class EmbedSettings(StageSettings, EmbeddingSettings, ChildSettings):
    """Read from `MILLRACE_…`; documented in docs/configuration.md."""

    embed_chunker: Literal["auto", "none", "paragraph", "sentence", "fixed"] = Field(
        default="auto",
        description="How texts are cut, unless a command says otherwise; auto: as fits the text. Transcripts are cut "
        "by their times",
    )
