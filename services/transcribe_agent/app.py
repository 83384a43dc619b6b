"""Puts the transcribe agent together."""

from __future__ import annotations

from datetime import timedelta

from millrace.stream.app import StageApp
from millrace.stream.stage import StageSpec
from services.transcribe_agent.build import build_handler
from services.transcribe_agent.domain import TranscriptResult
from services.transcribe_agent.settings import TranscribeSettings

SPEC = StageSpec(
    name="transcribe",
    inputs=("media.ready",),
    output="transcript.ready",
    soft_limit=timedelta(minutes=12),
    hard_limit=timedelta(minutes=15),
)


def build(settings: TranscribeSettings) -> StageApp[TranscriptResult]:
    """The agent's Faust application; nothing is connected before it is opened."""
    return StageApp(SPEC, settings, lambda resources: build_handler(settings, resources), works_on=settings.works_on)
