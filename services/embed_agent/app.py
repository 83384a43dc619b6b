"""Puts the embed agent together."""

from __future__ import annotations

from datetime import timedelta

from millrace.stream.app import StageApp
from millrace.stream.stage import StageSpec
from services.embed_agent.build import build_handler
from services.embed_agent.domain import EmbedResult
from services.embed_agent.settings import EmbedSettings

SPEC = StageSpec(
    name="embed",
    inputs=(
        "transcript.ready",
        "share.created",
    ),
    output="embedding.ready",
    soft_limit=timedelta(minutes=5),
    hard_limit=timedelta(minutes=10),
)


def build(settings: EmbedSettings) -> StageApp[EmbedResult]:
    """The agent's Faust application; nothing is connected before it is opened."""
    return StageApp(SPEC, settings, lambda resources: build_handler(settings, resources), works_on=settings.works_on)
