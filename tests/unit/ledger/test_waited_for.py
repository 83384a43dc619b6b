"""Which requests the ledger need not decide at once."""

from __future__ import annotations

import pytest

from services.cost_ledger.intake import is_waited_for


class Message:
    def __init__(self, headers: object) -> None:
        self._headers = headers

    def headers(self) -> object:
        return self._headers


@pytest.mark.parametrize(
    ("headers", "waited_for"),
    [
        ([("ce_id", b"work:0:1:reserve")], True),
        ([("ce_id", b"work:0:1:set-cap")], True),
        ([("ce_id", b"work:0:1:settle")], False),
        ([("ce_id", b"work:0:1:release"), ("traceparent", b"x")], False),
        ([("ce_id", b"work:0:1:unknown")], False),
        ([("ce_id", None)], True),
        ([], True),
        (None, True),
    ],
)
def test_only_what_ends_a_hold_lingers(headers: object, waited_for: bool) -> None:
    assert is_waited_for(Message(headers)) is waited_for  # type: ignore[arg-type]
