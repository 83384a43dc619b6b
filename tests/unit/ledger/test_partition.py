"""One partition's single writer: which records it decides, and when it asks for an expiry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import cast

from millrace.clock import from_millis
from services.cost_ledger.log import Loaded, PartitionLog
from services.cost_ledger.partition import EXPIRE_AGAIN_MS, Delivery, PartitionLedger
from services.cost_ledger.rows import Position
from services.cost_ledger.state import Batch
from tests.unit.ledger.build import MINUTE, Partition, everybody, request, reserve, set_cap


class Log:
    """Remembers what was committed."""

    def __init__(self, first_kept: int = 0) -> None:
        self.decided: list[int] = []
        self._first_kept = first_kept

    def open(self) -> Loaded:
        return Loaded([], Position(), self._first_kept)

    def commit(self, batch: Batch, traces: Mapping[int, str | None]) -> None:
        self.decided += [d.request_offset for d in batch.decisions if d.outcome != "day-opened"]

    def close(self) -> None:
        """Nothing is open."""


def opened(log: Log) -> PartitionLedger:
    ledger = PartitionLedger(0, cast(PartitionLog, log), everybody)
    ledger.open()
    return ledger


def test_what_is_delivered_again_is_decided_once() -> None:
    log, requests = Log(), Partition(caps_are_in=False)
    ledger = opened(log)
    records = [requests.next(reserve(str(number), 0)) for number in range(4)]
    for delivered in (records[:2], records[:2], records[1:3], records):
        assert ledger.decide(delivered) is Delivery.DECIDED
    assert log.decided == [0, 1, 2, 3]


def test_behind_a_hole_nothing_is_decided_until_what_is_missing_has_come() -> None:
    log, requests = Log(), Partition(caps_are_in=False)
    ledger = opened(log)
    records = [requests.next(reserve(str(number), 0)) for number in range(4)]
    assert ledger.decide(records[:1]) is Delivery.DECIDED
    assert ledger.decide(records[2:]) is Delivery.GAP
    assert ledger.decide([records[1], records[3]]) is Delivery.GAP
    assert (log.decided, ledger.next_offset) == ([0], 1)
    assert ledger.decide(records[1:]) is Delivery.DECIDED
    assert log.decided == [0, 1, 2, 3]


def test_a_log_that_begins_later_is_gone_on_with_where_it_begins() -> None:
    assert opened(Log(first_kept=7)).next_offset == 7


def test_a_hold_whose_time_is_over_is_let_expire_and_asked_for_again_until_that_is_decided() -> None:
    log, requests = Log(), Partition(caps_are_in=False)
    ledger, begun = opened(log), requests.moment
    ledger.decide([requests.next(set_cap("day", None, scope="total"))])
    ledger.decide([requests.next(reserve("1", 70, hold_ms=10 * MINUTE))])
    over, again = begun + timedelta(minutes=10), timedelta(milliseconds=EXPIRE_AGAIN_MS)

    assert ledger.overdue(over - timedelta(milliseconds=1)) == []
    (expiry,) = ledger.overdue(over)
    assert (expiry.op, expiry.request_id, expiry.account) == ("expire", "1", "a")
    assert ledger.overdue(over + again - timedelta(milliseconds=1)) == [], "it is on its way"
    assert len(ledger.overdue(over + again)) == 1

    requests.now += 10 * MINUTE
    ledger.decide([requests.next(request("expire", "1"))])
    assert ledger.overdue(from_millis(requests.now) + 2 * again) == []
