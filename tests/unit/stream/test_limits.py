from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from millrace.errors import OverLimit
from millrace.stream.limits import in_words, limited
from millrace.stream.stage import StageSpec

HOUR = timedelta(hours=1)
SPEC = StageSpec("embed", ("share.created",), "embedding.ready", soft_limit=HOUR, hard_limit=2 * HOUR)
SOON = timedelta(milliseconds=20)


class Overdue:
    def __init__(self, error: Exception | None = None) -> None:
        self.told = asyncio.Event()
        self._error = error

    async def __call__(self) -> None:
        self.told.set()
        if self._error is not None:
            raise self._error


async def test_work_within_its_limits_hears_nothing() -> None:
    overdue = Overdue()
    async with limited(SPEC, overdue):
        await asyncio.sleep(0)
    assert not overdue.told.is_set()


async def test_at_the_soft_limit_work_is_said_to_be_overdue_and_goes_on() -> None:
    overdue = Overdue()
    async with limited(replace(SPEC, soft_limit=SOON), overdue):
        await asyncio.wait_for(overdue.told.wait(), 10)


async def test_a_warning_that_fails_does_not_fail_the_work(caplog: pytest.LogCaptureFixture) -> None:
    overdue = Overdue(OSError("the broker is away"))
    async with limited(replace(SPEC, soft_limit=SOON), overdue):
        await asyncio.wait_for(overdue.told.wait(), 10)
        await asyncio.sleep(0)
    assert "could not be shown" in caplog.text


async def test_at_the_hard_limit_work_is_ended() -> None:
    ended: list[str] = []

    async def work() -> None:
        async with limited(replace(SPEC, hard_limit=SOON), Overdue()):
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("work")

    with pytest.raises(OverLimit, match=r"limit of 0\.02 seconds"):
        await work()
    assert ended == ["work"]


async def test_a_time_out_of_the_work_itself_is_not_the_limit() -> None:
    with pytest.raises(TimeoutError, match="the provider"):
        async with limited(SPEC, Overdue()):
            raise TimeoutError("the provider's own")


@pytest.mark.parametrize(
    ("soft_s", "hard_s", "limits"),
    [
        (None, None, (HOUR, 2 * HOUR)),
        (60, None, (timedelta(minutes=1), 2 * HOUR)),
        (None, 600, (timedelta(minutes=10), timedelta(minutes=10))),
        (60, 30, (timedelta(seconds=30), timedelta(seconds=30))),
    ],
)
def test_settings_come_before_the_stage(
    soft_s: float | None, hard_s: float | None, limits: tuple[timedelta, timedelta]
) -> None:
    spec = SPEC.limited(soft_s=soft_s, hard_s=hard_s)
    assert (spec.soft_limit, spec.hard_limit) == limits
    assert spec.hold_for == limits[1] + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("seconds", "words"), [(900, "15 minutes"), (90, "90 seconds"), (150, "150 seconds"), (0.5, "0.5 seconds")]
)
def test_a_limit_in_words(seconds: float, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words
