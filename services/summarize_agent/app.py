"""Puts the summarize agent together."""

from __future__ import annotations

from datetime import timedelta

from millrace.stream.app import StageApp
from millrace.stream.stage import StageSpec
from services.summarize_agent.build import build_handler
from services.summarize_agent.domain import SummarizeResult
from services.summarize_agent.settings import SummarizeSettings

SPEC = StageSpec(
    name="summarize",
    inputs=(
        "transcript.ready",
        "share.created",
    ),
    output="summary.ready",
    soft_limit=timedelta(minutes=3),
    hard_limit=timedelta(minutes=5),
)


def build(settings: SummarizeSettings) -> StageApp[SummarizeResult]:
    """The agent's Faust application; nothing is connected before it is opened."""
    return StageApp(SPEC, settings, lambda resources: build_handler(settings, resources), works_on=settings.works_on)
