"""The media agent."""

from __future__ import annotations

from datetime import timedelta

from millrace.stream.agent import Agent
from millrace.stream.stage import StageSpec
from services.media_agent.build import build_handler
from services.media_agent.settings import MediaSettings

AGENT = Agent(
    StageSpec(
        name="media",
        inputs=("share.created",),
        output="media.ready",
        soft_limit=timedelta(minutes=8),
        hard_limit=timedelta(minutes=10),
    ),
    MediaSettings,
    build_handler,
)
