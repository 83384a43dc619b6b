from __future__ import annotations

from datetime import UTC, datetime

import pytest

from millrace.contracts.events import CostDecision, CostOutcome, HoldState
from millrace.money import ZERO, MicroUSD
from services.api_gateway.errors import NotFound, NotNow, Unreadable
from services.api_gateway.log_places import START, Place, cursor_of, place_of
from services.api_gateway.unconfirmed import Standing, to_reconcile, verdict


def standing(outcome: str, actual: int = 0, account: str = "a") -> Standing:
    return Standing(account, "embed", outcome, MicroUSD(100), MicroUSD(actual), ZERO)


def decision(outcome: CostOutcome, previous: HoldState | None, actual: int = 0) -> CostDecision:
    return CostDecision(
        request_id="r",
        op="reconcile",
        outcome=outcome,
        account="a",
        scope="embed",
        actual_micro_usd=MicroUSD(actual),
        previous=previous,
        request_offset=1,
        decided_at=datetime(2030, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("call", "done"),
    [(standing("unconfirmed"), False), (standing("reconciled", 7), True), (standing("settled", 7), True)],
)
def test_a_call_is_reconciled_once(call: Standing, done: bool) -> None:
    assert to_reconcile([call], MicroUSD(7)) == (call, done)


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ([standing("granted")], "still held"),
        ([standing("denied")], "is denied"),
        ([standing("released")], "is released"),
        ([standing("reconciled", 8)], r"reconciled at \$0.000008 already"),
        ([standing("settled", 8)], r"settled at \$0.000008 already"),
        ([standing("unconfirmed"), standing("settled", account="b")], "name the account"),
    ],
)
def test_what_cannot_be_reconciled_says_why(found: list[Standing], complaint: str) -> None:
    with pytest.raises(NotNow, match=complaint):
        to_reconcile(found, MicroUSD(7))


def test_an_unknown_call_is_not_found() -> None:
    with pytest.raises(NotFound):
        to_reconcile([], ZERO)


def test_the_ledgers_word_is_the_last() -> None:
    assert not verdict(decision("reconciled", "unconfirmed", 7), MicroUSD(7)).repeated
    assert verdict(decision("reconciled", "settled", 7), MicroUSD(7)).repeated
    with pytest.raises(NotNow, match="settled at"):  # a provider's late answer was faster
        verdict(decision("reconciled", "settled", 8), MicroUSD(7))
    with pytest.raises(NotNow, match="changed nothing"):
        verdict(decision("unchanged", "released"), MicroUSD(7))


def test_a_cursor_names_its_place() -> None:
    place = Place(datetime(2030, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC), 3, 2**40)
    assert place_of(cursor_of(place), START) == place
    assert place_of(None, START) == START


@pytest.mark.parametrize("cursor", ["", "x", "1.2", "1.2.3.4", "-1.0.0", f"{'9' * 18}.0.0", "1.2.3\n"])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Unreadable):
        place_of(cursor, START)
