"""Puts the media agent together."""

from __future__ import annotations

from datetime import timedelta

from millrace.stream.app import StageApp
from millrace.stream.stage import StageSpec
from services.media_agent.build import build_handler
from services.media_agent.domain import MediaResult
from services.media_agent.settings import MediaSettings

SPEC = StageSpec(
    name="media",
    inputs=("share.created",),
    output="media.ready",
    soft_limit=timedelta(minutes=8),
    hard_limit=timedelta(minutes=10),
)


def build(settings: MediaSettings) -> StageApp[MediaResult]:
    """The agent's Faust application; nothing is connected before it is opened."""
    return StageApp(SPEC, settings, lambda resources: build_handler(settings, resources))
