from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millrace.kafka.records import Partition
from millrace.stream.acks import OrderedAcks

A, B = Partition("media.ready", 0), Partition("media.ready", 1)


def acks_of(count: int, at: Partition = A) -> OrderedAcks[int]:
    acks: OrderedAcks[int] = OrderedAcks()
    for offset in range(count):
        acks.track(at, offset, offset)
    return acks


@given(st.permutations(range(12)))
def test_nothing_is_acknowledged_before_all_that_came_before_it(order: list[int]) -> None:
    acks, finished, out = acks_of(12), set[int](), list[int]()
    for offset in order:
        finished.add(offset)
        out += acks.finish(A, offset)
        assert set(out) <= finished
        assert out == list(range(len(out)))
    assert out == list(range(12))
    assert acks.unfinished() == 0


@given(st.permutations(range(8)), st.integers(0, 8))
def test_a_dropped_partition_acknowledges_nothing_more(order: list[int], until: int) -> None:
    acks = acks_of(8)
    for offset in order[:until]:
        acks.finish(A, offset)
    acks.drop([A])
    assert [acks.finish(A, offset) for offset in order] == [[]] * 8
    assert acks.unfinished() == 0


def test_partitions_do_not_wait_for_each_other() -> None:
    acks = acks_of(2)
    acks.track(B, 5, 50)
    assert acks.finish(A, 1) == []
    assert acks.finish(B, 5) == [50]
    assert acks.finish(A, 0) == [0, 1]


def test_a_redelivered_event_is_the_one_that_is_acknowledged() -> None:
    acks = acks_of(1)
    acks.track(A, 0, 99)
    assert acks.finish(A, 0) == [99]


def test_finishing_twice_acknowledges_once() -> None:
    acks = acks_of(1)
    assert acks.finish(A, 0) == [0]
    assert acks.finish(A, 0) == []
