"""Rows as bytes, and the digest over them."""

from __future__ import annotations

import pytest

from services.cost_ledger.rows import (
    CapKey,
    CapRow,
    HoldKey,
    HoldRow,
    Key,
    Position,
    Row,
    WindowKey,
    WindowRow,
    decode,
    decode_position,
    encode_key,
    encode_row,
)
from services.cost_ledger.state import State, Written
from tests.unit.ledger.build import Partition, reserve, set_cap, settle

ROWS: list[tuple[Key, Row]] = [
    (WindowKey("ä b", "embed", "hour", 1), WindowRow(1, 2, 3, 4, 5)),
    (CapKey("default", "total", "day"), CapRow(None, "warn", "id", 5, "enforce")),
    (HoldKey("a", "id"), HoldRow("embed", "denied", 9, 1, 2, 3, denied_by="hour:embed", left=0, cap=1, room_at=None)),
]


@pytest.mark.parametrize(("key", "row"), ROWS)
def test_a_row_comes_back_from_its_bytes(key: Key, row: Row) -> None:
    again, back = decode(encode_key(key), encode_row(row))

    assert (again, back) == (key, row)
    assert type(again) is type(key)


def test_a_position_comes_back_from_its_bytes() -> None:
    position = Position(offset=5, at=6, day=7, digest=2**64 - 1)
    assert decode_position(encode_row(position)) == position


@pytest.mark.parametrize("key", [b'["other",1]', b'["hold"]', b"[]", b"{}", b"no json"])
def test_rows_of_another_version_are_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"not readable|expected|not enough"):
        decode(key, b"[]")


def _committed() -> tuple[list[Written], Position]:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100), reserve("1", 60), reserve("2", 60), settle("1", 10))
    rows = [Written(key, row, encode_key(key), encode_row(row)) for key, row in ledger.state.rows.items()]
    return rows, ledger.state.position


def test_what_was_committed_is_accepted_in_any_order() -> None:
    rows, position = _committed()
    assert State().load(reversed(rows), position)


def test_a_lost_row_is_noticed() -> None:
    rows, position = _committed()
    for missing in range(len(rows)):
        assert not State().load(rows[:missing] + rows[missing + 1 :], position)


def test_a_row_of_an_older_batch_is_noticed() -> None:
    rows, position = _committed()
    older = encode_row(WindowRow(held=60, calls=1))
    stale = [one._replace(raw_row=older) if isinstance(one.key, WindowKey) else one for one in rows]
    assert not State().load(stale, position)
