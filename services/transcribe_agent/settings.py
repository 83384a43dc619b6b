"""Settings of the transcribe agent, besides those of every agent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from millrace.models.settings import ChildSettings, SpeechSettings, older
from millrace.settings import StageSettings
from services.transcribe_agent.domain import SILENT_DB


class TranscribeSettings(StageSettings, ChildSettings, SpeechSettings):
    """Read from `MILLRACE_…`; documented in docs/configuration.md."""

    stt_fallback: bool = Field(
        default=True,
        description="Whether the API hears what the local model cannot (out of memory, too slow), if a key or a base "
        "URL is set. false: with a local model, sound never leaves this machine",
    )
    stt_least_speed: float = Field(
        default=2.0,
        gt=0,
        description="Seconds of sound that the local model has to hear in a second, before the API is asked instead; "
        "30 minutes at 2 are the stage's hard limit",
    )
    whisper_model: str = Field(
        default="tiny.en",
        min_length=1,
        validation_alias=older("whisper_model", "WHISPER_MODEL"),
        description="Folder or name of a faster-whisper model; tiny.en (English) is bundled, others are downloaded",
    )
    whisper_device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", validation_alias=older("whisper_device", "WHISPER_DEVICE"), description="Where the model runs"
    )
    whisper_compute_type: str = Field(
        default="auto",
        validation_alias=older("whisper_compute_type", "WHISPER_COMPUTE_TYPE"),
        description="auto: the fastest that the device has (int8 on a CPU)",
    )
    whisper_threads: int = Field(default=2, ge=1, description="CPU threads of the model")
    whisper_batch: int = Field(
        default=4,
        ge=1,
        description="Clips of half a minute that the model listens to at once, which are one call; a GPU is faster "
        "with more, if its memory will do",
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
        local = self.uses_local(by_api=self.listens_by_api)
        return min(self.concurrency, self.children) if local else self.concurrency
