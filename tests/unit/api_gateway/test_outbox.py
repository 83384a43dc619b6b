from __future__ import annotations

from services.api_gateway.outbox import waves
from services.api_gateway.ports import OutboxRow


def row(seq: int, key: bytes | None = b"k", topic: str = "t") -> OutboxRow:
    return OutboxRow(seq, topic, key, b"", {})


def seqs(rows: list[OutboxRow]) -> list[list[int]]:
    return [[one.seq for one in wave] for wave in waves(rows)]


def test_rows_of_different_keys_are_sent_at_once() -> None:
    assert seqs([row(1, b"a"), row(2, b"b"), row(3, None)]) == [[1, 2, 3]]


def test_a_key_of_two_topics_has_two_orders() -> None:
    assert seqs([row(1), row(2, topic="t2")]) == [[1, 2]]


def test_a_row_is_sent_after_the_one_before_it_of_its_key() -> None:
    rows = [row(1), row(2), row(3, b"other"), row(4), row(5, b"other"), row(6, b"third")]
    assert seqs(rows) == [[1, 3, 6], [2, 5], [4]]


def test_nothing_is_sent_of_nothing() -> None:
    assert seqs([]) == []
