from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millrace.kafka.records import Partition
from millrace.stream.positions import Arrival, Positions

AT = Partition("media.ready", 0)


def test_the_first_record_must_be_where_the_assignment_starts() -> None:
    assert Positions().arrive(AT, 7, {AT: 7}) is Arrival.NEXT
    assert Positions().arrive(AT, 8, {AT: 7}) is Arrival.GAP
    assert Positions().arrive(AT, 6, {AT: 7}) is Arrival.REPEATED


@given(st.lists(st.integers(0, 20), max_size=60))
def test_every_offset_is_taken_once_and_in_order_whatever_is_delivered(delivered: list[int]) -> None:
    positions, taken = Positions(), list[int]()
    for offset in delivered:
        match positions.arrive(AT, offset, {}):
            case Arrival.NEXT:
                taken.append(offset)
            case Arrival.REPEATED:
                assert offset in taken
            case Arrival.GAP:
                assert offset > len(taken)
    assert taken == list(range(len(taken)))


def test_after_a_rebalance_the_new_start_counts() -> None:
    positions = Positions()
    positions.arrive(AT, 0, {})
    positions.drop([AT])
    assert positions.expected(AT, {AT: 40}) == 40
    assert positions.arrive(AT, 40, {AT: 40}) is Arrival.NEXT
