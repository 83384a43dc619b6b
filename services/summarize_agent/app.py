"""The summarize agent."""

from __future__ import annotations

from datetime import timedelta

from millrace.stream.agent import Agent
from millrace.stream.stage import StageSpec
from services.summarize_agent.build import build_handler
from services.summarize_agent.settings import SummarizeSettings

AGENT = Agent(
    StageSpec(
        name="summarize",
        inputs=(
            "transcript.ready",
            "share.created",
        ),
        output="summary.ready",
        soft_limit=timedelta(minutes=5),
        hard_limit=timedelta(minutes=10),  # a long text is a dozen calls, one after another
    ),
    SummarizeSettings,
    build_handler,
)
