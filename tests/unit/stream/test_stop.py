from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from millrace.errors import Cancelled
from millrace.stream.cancel import Stop, Stops

Job = Callable[[Stop, list[str]], Coroutine[Any, Any, None]]


async def stopped(job: Job, *, after: int = 3) -> list[str]:
    """What a job notes that is told to stop after a few turns of the loop; it ends as cancelled."""
    stop, notes = Stop(), list[str]()

    async def run() -> None:
        async with stop.cuts_off():
            await job(stop, notes)

    task = asyncio.create_task(run())
    for _ in range(after):
        await asyncio.sleep(0)
    stop.ask()
    with pytest.raises(Cancelled):
        await asyncio.wait_for(task, 10)
    return notes


async def test_a_job_is_cut_off_wherever_it_waits() -> None:
    async def job(_: Stop, notes: list[str]) -> None:
        notes.append("begun")
        await asyncio.Event().wait()

    assert await stopped(job) == ["begun"]


async def test_what_is_paid_for_ends_and_nothing_is_paid_after_it() -> None:
    async def job(stop: Stop, notes: list[str]) -> None:
        for number in range(2):
            with stop.paying():
                for _ in range(10):
                    await asyncio.sleep(0)
                notes.append(f"paid {number}")
            await asyncio.sleep(0)

    assert await stopped(job) == ["paid 0"]


async def test_a_stop_during_a_paid_call_cuts_the_job_off_as_soon_as_that_has_ended() -> None:
    async def job(stop: Stop, notes: list[str]) -> None:
        with stop.paying():
            for _ in range(10):
                await asyncio.sleep(0)
            notes.append("paid")
        await asyncio.Event().wait()

    assert await stopped(job) == ["paid"]


async def test_of_two_calls_at_once_both_end() -> None:
    async def job(stop: Stop, notes: list[str]) -> None:
        async def pay(turns: int) -> None:
            with stop.paying():
                for _ in range(turns):
                    await asyncio.sleep(0)
                notes.append(f"paid {turns}")

        await asyncio.gather(pay(10), pay(20))
        notes.append("went on")
        await asyncio.Event().wait()

    assert (await stopped(job))[:2] == ["paid 10", "paid 20"]


async def test_a_stop_before_a_call_keeps_it_from_being_made_and_what_is_written_about_it_is_not_cut_off() -> None:
    async def job(stop: Stop, notes: list[str]) -> None:
        stop.ask()  # no turn of the loop between this and the call
        try:
            with stop.paying():
                notes.append("paid")
        except Cancelled:
            await asyncio.sleep(0.01)
            notes.append("written down")
            raise

    assert await stopped(job, after=1) == ["written down"]


async def test_a_job_told_to_stop_before_it_began_does_not_begin() -> None:
    stop = Stop()
    stop.ask()
    with pytest.raises(Cancelled):
        async with stop.cuts_off():
            pytest.fail("it began")


async def test_a_time_out_of_the_job_and_a_stop_of_the_worker_are_not_a_cancel() -> None:
    stop = Stop()
    with pytest.raises(TimeoutError, match="the provider"):
        async with stop.cuts_off():
            raise TimeoutError("the provider's own")

    async def run() -> None:
        async with stop.cuts_off():
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_only_the_share_that_was_cancelled_is_stopped() -> None:
    stops = Stops()
    with stops.running("one") as one, stops.running("two") as two:
        stops.ask("one")
        stops.ask("three")
        with pytest.raises(Cancelled):
            one.check()
        two.check()
    stops.ask("one")  # it has ended: nothing happens
