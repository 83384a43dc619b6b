"""What the pipeline's benchmark would notice, and how it counts."""

from __future__ import annotations

import os
import time

import pytest

from benchmarks.peers import counters, cpu
from benchmarks.peers.chain import Broken, Finishes
from benchmarks.peers.rounds import percentile


def test_every_share_finished_once_is_fine() -> None:
    finishes = Finishes()
    for share in ("a", "b"):
        finishes.tell(share, 1.0)

    finishes.check(["b", "a"])


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (["a"], "1 shares were lost"),
        (["a", "b", "b"], "1 finished twice"),
        (["a", "b", "c"], "1 were never shared"),
    ],
)
def test_a_share_that_is_lost_or_comes_twice_is_noticed(told: list[str], says: str) -> None:
    finishes = Finishes()
    for share in told:
        finishes.tell(share, 1.0)

    with pytest.raises(Broken, match=says):
        finishes.check(["a", "b"])


async def test_the_first_end_of_a_share_counts() -> None:
    finishes = Finishes()
    finishes.tell("a", 1.0)
    finishes.tell("a", 2.0)

    assert await finishes.wait(["a"], alive=lambda: None) == [1.0]


async def test_waiting_ends_when_a_process_has_ended() -> None:
    def ended() -> None:
        raise Broken("media ended with 70")

    with pytest.raises(Broken, match="media ended"):
        await Finishes().wait(["a"], alive=ended)


def test_percentiles_are_milliseconds() -> None:
    latencies = [number / 1000 for number in range(100, 0, -1)]

    assert (percentile(latencies, 0.5), percentile(latencies, 0.99)) == (51.0, 100.0)


def test_processor_time_of_a_process_grows_as_it_works() -> None:
    here = {"here": os.getpid()}
    before = cpu.seconds(here)
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass

    spent = cpu.per_share(before, cpu.seconds(here), shares=10)

    assert spent["all"] == spent["here"] >= 8.0  # 0.1 s over ten shares, in ticks of 10 ms


def test_counts_are_by_share_and_only_of_what_happened() -> None:
    before, after = {"a": 10.0, "b": 5.0}, {"a": 30.0, "b": 5.0, "c": 5.0}

    assert counters.per_share(before, after, 10) == {"a": 2.0, "c": 0.5}
