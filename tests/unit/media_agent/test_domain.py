from __future__ import annotations

from datetime import timedelta

import pytest

from millrace.errors import Poison
from services.media_agent.domain import Probe, check_probe


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        (Probe("wav", 0, "pcm_s16le", None), "0 seconds"),
        (Probe("mp4", 1000, None, None), "neither sound nor moving pictures"),
        (Probe("mp4", 1_800_001, "aac", None), "at most 30 min"),
    ],
)
def test_media_that_no_stage_can_use_is_refused_with_the_reason(probe: Probe, reason: str) -> None:
    with pytest.raises(Poison, match=reason):
        check_probe(probe, longest=timedelta(minutes=30))


def test_half_an_hour_is_not_too_long() -> None:
    check_probe(Probe("mp4", 1_800_000, "aac", None), longest=timedelta(minutes=30))
