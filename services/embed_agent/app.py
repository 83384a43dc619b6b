"""The embed agent."""

from __future__ import annotations

from datetime import timedelta

from millrace.stream.agent import Agent
from millrace.stream.stage import StageSpec
from services.embed_agent.build import build_handler
from services.embed_agent.settings import EmbedSettings

AGENT = Agent(
    StageSpec(
        name="embed",
        inputs=(
            "transcript.ready",
            "share.created",
        ),
        output="embedding.ready",
        soft_limit=timedelta(minutes=5),
        hard_limit=timedelta(minutes=10),
    ),
    EmbedSettings,
    build_handler,
)
