"""Signals end a program's work, once, and let it clean up."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from millrace.embedded.signals import until_signal


@pytest.fixture(autouse=True)
def hangups_end_programs() -> Iterator[None]:
    """Also where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_lets_the_work_clean_up_and_a_second_one_does_not_cut_it_short(number: signal.Signals) -> None:
    cleaned = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(30)
        finally:
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.05)
            cleaned.append("all")

    async with asyncio.timeout(10):
        assert await until_signal(work()) is True
    assert cleaned == ["all"]


async def test_work_that_ends_by_itself_was_not_ended_by_a_signal() -> None:
    assert await until_signal(asyncio.sleep(0)) is False


async def test_an_error_of_the_work_is_not_swallowed() -> None:
    async def work() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await until_signal(work())
