"""The transcribe agent."""

from __future__ import annotations

from datetime import timedelta

from millrace.stream.agent import Agent
from millrace.stream.stage import StageSpec
from services.transcribe_agent.build import build_handler
from services.transcribe_agent.settings import TranscribeSettings

AGENT = Agent(
    StageSpec(
        name="transcribe",
        inputs=("media.ready",),
        output="transcript.ready",
        soft_limit=timedelta(minutes=12),
        hard_limit=timedelta(minutes=15),
    ),
    TranscribeSettings,
    build_handler,
)
