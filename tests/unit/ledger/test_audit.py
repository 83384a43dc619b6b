"""An audit finds what differs from the log, in whatever place; a rebuild changes that and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from millrace.contracts.events import CostSpend, Window
from services.cost_ledger.again import Again
from services.cost_ledger.audit import Differences, PartitionAudit, Places, first_whole_day
from services.cost_ledger.rebuild import Truth
from services.cost_ledger.rows import (
    FENCE_KEY,
    POSITION_KEY,
    CapKey,
    HoldKey,
    Position,
    WindowKey,
    encode_key,
    encode_row,
)
from services.cost_ledger.spend import Decided, Done, JsonRow, Rows, SpendBook
from services.cost_ledger.windows import WINDOWS
from tests.unit.ledger.build import DAY, HOUR, Partition, everybody, request, reserve, set_cap, settle


@dataclass
class Written:
    """What a ledger that has worked for a day and an hour has written; tests change it."""

    ledger: Partition = field(default_factory=Partition)
    rows: dict[bytes, bytes] = field(default_factory=dict)
    tables: dict[Window, Rows] = field(default_factory=lambda: {window: {} for window in WINDOWS})
    spend: dict[WindowKey, CostSpend] = field(default_factory=dict)
    decided: list[Decided] = field(default_factory=list)

    @property
    def places(self) -> Places:
        return Places(self.rows, {window: dict(rows) for window, rows in self.tables.items()}, self.spend)

    def audited(self, *, required: int | None = None) -> Differences:
        found = Differences()
        since = first_whole_day(self.decided[0].decision)
        audit = PartitionAudit(0, self.places, found, since_ms=since, required=required)
        for one in self.decided:
            audit.follow(one)
        audit.end()
        return found

    def rebuilt(self) -> Truth:
        truth = Truth(lambda _: 0, since_ms=first_whole_day(self.decided[0].decision))
        for one in self.decided:
            truth.follow(one)
        return truth


@pytest.fixture
def written() -> Written:
    """Every kind of decision, on two days."""
    made = Written()
    ledger = made.ledger
    ledger.ask(set_cap("hour", 100), set_cap("hour", 70, account="a"), reserve("late", 20, hold_ms=2 * DAY))
    ledger.ask(reserve("1", 30), reserve("1", 30), settle("1", 40), reserve("big", 90), reserve("2", 5))
    ledger.now += HOUR
    ledger.ask(request("release", "2"), reserve("3", 9), request("unknown", "3"))
    ledger.now += DAY
    ledger.ask(settle("late", 25), reserve("4", 12), set_cap("hour", 60, account="a"))
    made.rows = {encode_key(key): encode_row(row) for key, row in ledger.state.rows.items()}
    made.rows |= {POSITION_KEY: encode_row(ledger.state.position), FENCE_KEY: b'["somebody"]'}
    # Every transaction ends in a marker that has an offset too.
    made.decided = [Decided(0, 2 * place, decision) for place, decision in enumerate(ledger.decisions)]
    for window, rows in made.tables.items():
        book = SpendBook(window, rows, lambda _: 0)
        for one in made.decided:
            if one.decision.outcome != "day-opened":
                for name in book.apply(one):
                    made.spend[WindowKey(name.account, name.scope, window, name.start)] = book.published(name)
                book.finish(0, Done(one.decision.request_offset, one.offset))
    return made


def test_sound_books_show_nothing_and_a_rebuild_writes_nothing(written: Written) -> None:
    assert written.audited().shown == []
    truth = written.rebuilt()
    pruned_later = [
        change for change in truth.rows(written.rows) if change.value is not None and change.key != POSITION_KEY
    ]
    assert pruned_later == [], "rows that the core has not pruned yet may go, but none is new"
    assert [truth.table(window, rows) for window, rows in written.tables.items()] == [{}, {}]
    assert truth.spend(written.spend) == {}


def change_window(written: Written) -> None:
    key, row = next((key, row) for key, row in written.tables["hour"].items() if key.startswith("a|transcribe|"))
    written.tables["hour"][key] = {**row, "settled": (row["settled"] or 0) + 1}


def lose_window(written: Written) -> None:
    del written.tables["day"][next(key for key in written.tables["day"] if key.startswith("a|total|"))]


def stay_behind(written: Written) -> None:
    """As a writer that went on without one of its rows."""
    key, row = max(
        ((key, row) for key, row in written.tables["day"].items() if key.startswith("a|")),
        key=lambda item: item[1]["as_of"] or 0,
    )
    written.tables["day"][key] = {**row, "as_of": (row["as_of"] or 0) - 1}


def invent_window(written: Written) -> None:
    row: JsonRow = {"settled": 1, "held": 0, "unconfirmed": 0, "overrun": 0, "calls": 1, "as_of": 3, "at": 0}
    written.tables["hour"]["nobody|embed|0"] = row


def change_cap(written: Written) -> None:
    key = "|cap|0|a|transcribe"
    written.tables["hour"][key] = {**written.tables["hour"][key], "cap": 61}


def change_published(written: Written) -> None:
    key, row = next(iter(written.spend.items()))
    written.spend[key] = row.model_copy(update={"held_micro_usd": row.held_micro_usd + 1})


def change_published_cap(written: Written) -> None:
    key = max(
        (key for key in written.spend if key.scope == "transcribe" and key.window == "hour"), key=lambda k: k.start
    )
    written.spend[key] = written.spend[key].model_copy(update={"cap_micro_usd": 1})


def change_row(written: Written) -> None:
    key = CapKey("a", "transcribe", "hour")
    written.rows[encode_key(key)] = encode_row(written.ledger.state.caps[key]._replace(cap=1_000_000))


def lose_hold(written: Written) -> None:
    del written.rows[encode_key(HoldKey("a", "3"))]


def forget_position(written: Written) -> None:
    position = written.ledger.state.position
    written.rows[POSITION_KEY] = encode_row(Position(position.offset, position.at, position.day, position.digest ^ 1))


@pytest.mark.parametrize(
    ("hurt", "place"),
    [
        (change_window, "hourly_spend"),
        (lose_window, "daily_spend"),
        (stay_behind, "daily_spend"),
        (invent_window, "hourly_spend"),
        (change_cap, "hourly_spend"),
        (change_published, "cost.spend"),
        (change_published_cap, "cost.spend"),
        (change_row, "cost.rows"),
        (lose_hold, "cost.rows"),
        (forget_position, "cost.rows"),
    ],
)
def test_what_is_wrong_is_found_where_it_is_and_made_right(
    written: Written, hurt: Callable[[Written], None], place: str
) -> None:
    hurt(written)
    assert {one.place for one in written.audited().shown} == {place}

    truth = written.rebuilt()
    for change in truth.rows(written.rows):
        if change.value is None:
            del written.rows[change.key]
        else:
            written.rows[change.key] = change.value
    for window, table in written.tables.items():
        for key, row in truth.table(window, dict(table)).items():
            if row is None:
                del table[key]
            else:
                table[key] = row
    for window_key, said in truth.spend(written.spend).items():
        if said is None:
            del written.spend[window_key]
        else:
            written.spend[window_key] = said
    assert written.audited().shown == []


def test_tables_that_stop_before_the_log_are_behind(written: Written) -> None:
    last = written.decided[-1].offset
    for rows in written.tables.values():
        rows["|done|0"] = {"request": 3, "decision": 6}
    assert any("ends at" in one.log for one in written.audited().shown)
    assert any(f"ends at {last}" in one.log for one in written.audited(required=last).shown)
    assert not any("ends at" in one.log for one in written.audited(required=6).shown), "what is on its way may be"


def test_a_rebuild_keeps_which_alerts_were_raised(written: Written) -> None:
    key, row = next((key, row) for key, row in written.tables["hour"].items() if key.startswith("a|transcribe|"))
    written.tables["hour"][key] = {**row, "settled": 999, "alert_percent": 80}
    assert written.rebuilt().table("hour", written.tables["hour"])[key] == {**row, "alert_percent": 80}


def test_deciding_again_notices_an_answer_that_was_not_the_ledgers(written: Written) -> None:
    def again(decided: list[Decided]) -> Differences:
        found = Differences()
        once_more = Again(iter(written.ledger.log), everybody, written.ledger.state.position, found)
        for one in decided:
            once_more.follow(one)
        return found

    assert again(written.decided).shown == []
    forged = [
        one._replace(decision=one.decision.model_copy(update={"outcome": "granted"}))
        if one.decision.outcome == "denied"
        else one
        for one in written.decided
    ]
    (difference,) = again(forged).shown
    assert ('"denied"' in difference.log, '"granted"' in difference.found) == (True, True)
