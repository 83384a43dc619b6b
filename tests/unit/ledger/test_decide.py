"""What the ledger answers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from millrace.contracts.events import CostRequest
from millrace.money import LARGEST, MicroUSD
from services.cost_ledger.decide import MAX_HOLD_MS
from services.cost_ledger.rows import WindowKey, WindowRow
from services.cost_ledger.windows import start_of
from tests.unit.ledger.build import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    Partition,
    outcomes,
    request,
    reserve,
    set_cap,
    settle,
)


def hour_of(partition: Partition, scope: str = "transcribe", account: str = "a", at: int = NOON) -> WindowRow:
    row = partition.state.rows[WindowKey(account, scope, "hour", start_of("hour", at))]
    assert isinstance(row, WindowRow)
    return row


def test_money_is_granted_up_to_the_cap_and_not_a_micro_dollar_beyond() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100))

    assert outcomes(ledger.ask(reserve("1", 60), reserve("2", 41), reserve("3", 40), reserve("4", 1))) == [
        "granted",
        "denied",
        "granted",
        "denied",
    ]
    assert hour_of(ledger).held == 100


def test_a_denial_says_which_cap_what_is_left_and_when_there_will_be_room() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100), set_cap("day", 150), reserve("1", 70))

    denied = ledger.ask_one(reserve("2", 50))

    assert (denied.outcome, denied.denied_by, denied.left_micro_usd) == ("denied", "hour:transcribe", 30)
    assert denied.room_at == datetime(2026, 3, 1, 13, tzinfo=UTC)

    ledger.now += HOUR
    ledger.ask(reserve("3", 70))
    denied = ledger.ask_one(reserve("4", 50))

    assert (denied.denied_by, denied.left_micro_usd, denied.cap_micro_usd) == ("day:transcribe", 10, 150)
    assert denied.room_at == datetime(2026, 3, 2, tzinfo=UTC)


def test_an_amount_above_the_cap_itself_never_has_room() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100), set_cap("day", 50))

    denied = ledger.ask_one(reserve("1", 51))

    assert (denied.denied_by, denied.left_micro_usd, denied.room_at) == ("day:transcribe", 50, None)


def test_the_total_of_an_account_is_capped_over_its_scopes() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100, scope="total"), reserve("1", 60, scope="embed"))

    denied = ledger.ask_one(reserve("2", 41, scope="summarize"))

    assert denied.denied_by == "hour:total"
    assert ledger.ask_one(reserve("3", 100, account="b")).outcome == "granted"


def test_an_accounts_own_cap_replaces_the_default_one() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 10), set_cap("hour", 100, account="a"), set_cap("hour", None, account="b"))

    assert ledger.ask_one(reserve("1", 100, account="a")).outcome == "granted"
    assert ledger.ask_one(reserve("2", 1_000_000, account="b")).outcome == "granted"
    assert ledger.ask_one(reserve("3", 11, account="c")).outcome == "denied"


def test_a_cap_that_warns_grants_and_says_so() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 10, mode="warn"))

    granted = ledger.ask_one(reserve("1", 11))

    assert granted.outcome == "granted"
    assert "hour:transcribe" in (granted.reason or "")


def test_amount_0_never_waits_and_is_recorded() -> None:
    ledger = Partition(caps_are_in=False)
    ledger.ask(set_cap("hour", 0))

    assert ledger.ask_one(reserve("1", 0)).outcome == "granted"
    assert hour_of(ledger).calls == 1


def test_nothing_that_costs_is_granted_before_the_caps_are_in() -> None:
    ledger = Partition(caps_are_in=False)

    assert ledger.ask_one(reserve("1", 1)).outcome == "invalid"

    ledger.ask(set_cap("day", None, scope="total"))
    assert ledger.ask_one(reserve("1", 1)).outcome == "granted", "the id was not used up"


def test_a_repeat_gets_the_same_answer_whatever_it_asks_for() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100), reserve("yes", 80), reserve("no", 30))

    yes, no = ledger.ask(reserve("yes", 1_000), reserve("no", 1))

    assert (yes.outcome, yes.amount_micro_usd) == ("granted", 80)
    assert (no.outcome, no.amount_micro_usd, no.left_micro_usd) == ("denied", 30, 20)
    assert hour_of(ledger).held == 80
    assert hour_of(ledger).calls == 1


def test_settling_frees_what_was_not_spent() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100), reserve("1", 100), settle("1", 30))

    assert hour_of(ledger) == WindowRow(settled=30, calls=1)
    assert ledger.ask_one(reserve("2", 70)).outcome == "granted"


def test_an_actual_above_the_hold_is_recorded_whole_and_blocks_further_grants() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100), reserve("1", 90))

    settled = ledger.ask_one(settle("1", 130))

    assert (settled.actual_micro_usd, settled.overrun_micro_usd) == (130, 40)
    assert hour_of(ledger) == WindowRow(settled=130, overrun=40, calls=1)
    assert ledger.ask_one(reserve("2", 1)).outcome == "denied"


@pytest.mark.parametrize("op", ["settle", "release", "unknown"])
def test_saying_it_twice_changes_nothing(op: str) -> None:
    ledger = Partition()
    ledger.ask(reserve("1", 100))
    what = CostRequest.model_validate(
        {**request("settle", "1", amount_micro_usd=MicroUSD(70)).model_dump(), "op": op}
    )

    first = ledger.ask_one(what)
    rows = dict(ledger.state.rows)
    second = ledger.ask_one(what.model_copy(update={"amount_micro_usd": 99}))

    assert second.outcome == first.outcome
    assert second.actual_micro_usd == first.actual_micro_usd
    assert ledger.state.rows == rows


def test_a_hold_that_outlives_its_time_stays_counted_until_somebody_knows() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100), reserve("1", 100, hold_ms=5 * MINUTE))

    early = ledger.ask_one(request("expire", "1"))
    ledger.now += 5 * MINUTE
    late = ledger.ask_one(request("expire", "1"))

    assert (early.outcome, late.outcome) == ("unchanged", "unconfirmed")
    assert hour_of(ledger) == WindowRow(unconfirmed=100, calls=1)
    assert ledger.ask_one(reserve("2", 1)).outcome == "denied"

    ledger.now += HOUR
    assert ledger.ask_one(settle("1", 20)).outcome == "settled"
    assert hour_of(ledger) == WindowRow(settled=20, calls=1), "the hour of the hold, not of the settlement"


def test_reconciling_ends_what_was_unconfirmed() -> None:
    ledger = Partition()
    ledger.ask(reserve("1", 100), request("unknown", "1"))

    reconciled = ledger.ask_one(request("reconcile", "1", amount_micro_usd=MicroUSD(60)))

    assert reconciled.outcome == "reconciled"
    assert hour_of(ledger) == WindowRow(settled=60, calls=1)


def test_a_call_that_is_under_way_cannot_be_reconciled() -> None:
    ledger = Partition()
    ledger.ask(reserve("1", 100))

    early = ledger.ask_one(request("reconcile", "1", amount_micro_usd=MicroUSD(60)))

    assert (early.outcome, early.previous) == ("unchanged", "held")
    assert hour_of(ledger) == WindowRow(held=100, calls=1)


def test_what_was_billed_after_a_release_is_recorded() -> None:
    ledger = Partition()
    ledger.ask(reserve("1", 100), request("release", "1"))

    settled = ledger.ask_one(settle("1", 40))

    assert (settled.outcome, settled.overrun_micro_usd) == ("settled", 40)
    assert hour_of(ledger) == WindowRow(settled=40, overrun=40, calls=1)


def test_a_release_that_overtakes_its_reserve_closes_the_id() -> None:
    ledger = Partition()

    assert ledger.ask_one(request("release", "1")).outcome == "released"
    assert ledger.ask_one(reserve("1", 100)).outcome == "denied"
    assert not [key for key in ledger.state.rows if isinstance(key, WindowKey)]


@pytest.mark.parametrize("op", ["settle", "unknown", "expire", "reconcile"])
def test_an_unknown_id_changes_nothing_and_says_so(op: str) -> None:
    ledger = Partition()

    answer = ledger.ask_one(CostRequest.model_validate({**request("settle", "nobody").model_dump(), "op": op}))

    assert (answer.outcome, answer.reason) == ("unchanged", "no reservation has this id")


@pytest.mark.parametrize(
    "wrong",
    [
        reserve("1", 10, account="stranger"),
        reserve("1", 10, account=""),
        reserve("1", 10, account="a|b"),
        reserve("1", 10, account="a\x00"),
        reserve("1", 10, scope="total"),
        reserve("1", 10, hold_ms=0),
        reserve("1", 10, hold_ms=MAX_HOLD_MS + 1),
        reserve("1", -1),
        reserve("1", LARGEST + 1),
        reserve("x" * 301, 1),
        settle("1", -5),
        request("set-cap", "1"),
        "undecodable: a message of 3 bytes",
    ],
    ids=str,
)
def test_what_cannot_be_decided_is_answered_and_changes_nothing(wrong: CostRequest | str) -> None:
    ledger = Partition()
    rows = dict(ledger.state.rows)

    answer = ledger.ask_one(wrong)

    assert answer.outcome == "invalid"
    assert answer.reason
    assert answer.request_offset == ledger.log[-1].offset
    assert ledger.state.rows == rows


def test_each_day_opens_with_its_caps_and_open_holds() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100), reserve("open", 40), reserve("over", 30), settle("over", 30))
    before = len(ledger.decisions)

    ledger.now += DAY
    ledger.ask(reserve("2", 1), reserve("3", 1))

    opened = [decision for decision in ledger.decisions[before:] if decision.outcome == "day-opened"]
    assert opened[0].request_id == "day:2026-03-02"
    assert {(d.scope, d.window, d.cap_micro_usd) for d in opened if d.window} == {
        ("total", "day", None),
        ("transcribe", "hour", 100),
    }
    assert [(d.request_id, d.amount_micro_usd) for d in opened if d.op == "reserve"] == [("open", 40)]
    assert outcomes(ledger.decisions[before:])[-2:] == ["granted", "granted"], "the day opens before it is used"


def test_a_clock_that_steps_back_does_not_reopen_a_window() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100))
    ledger.now += HOUR
    ledger.ask(reserve("1", 100))

    ledger.now -= HOUR
    denied = ledger.ask_one(reserve("2", 1))

    assert (denied.outcome, denied.denied_by) == ("denied", "hour:transcribe")
