from __future__ import annotations

from services.api_gateway.outbox import removable
from services.api_gateway.ports import OutboxRow


def row(seq: int, key: bytes | None = b"k", topic: str = "t") -> OutboxRow:
    return OutboxRow(seq, topic, key, b"", {})


def test_confirmed_rows_leave() -> None:
    assert removable([row(1, b"a"), row(2, b"b")], [None, None]) == [1, 2]


def test_a_failed_row_keeps_later_rows_of_its_key_so_that_order_is_restored_when_they_are_sent_again() -> None:
    rows = [row(1), row(2), row(3, b"other"), row(4, topic="t2")]
    assert removable(rows, ["timed out", None, None, None]) == [3, 4]


def test_rows_before_a_failed_one_leave() -> None:
    assert removable([row(1), row(2)], [None, "timed out"]) == [1]
