"""What is past its time answers nothing and is not stored for long; a rebuild comes to the same."""

from __future__ import annotations

from pathlib import Path

from services.cost_ledger.budgets import differences, load
from services.cost_ledger.evolve import ANSWERS_KEPT_MS, fold, present
from services.cost_ledger.rows import CapKey, CapRow, HoldKey, WindowKey, encode_key, encode_row
from services.cost_ledger.state import State, Written
from tests.unit.ledger.build import (
    DAY,
    HOUR,
    MINUTE,
    Partition,
    everybody,
    outcomes,
    request,
    reserve,
    set_cap,
    settle,
)


def holds(ledger: Partition) -> set[str]:
    return {key.request_id for key in ledger.state.rows if isinstance(key, HoldKey)}


def test_a_late_repeat_gets_the_same_answer_for_ten_minutes_and_then_is_a_new_request() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100), reserve("1", 60), settle("1", 60), reserve("2", 60))

    ledger.now += ANSWERS_KEPT_MS - 1
    assert outcomes(ledger.ask(reserve("1", 10), reserve("2", 10))) == ["granted", "denied"]
    assert ledger.ask_one(reserve("1", 10)).previous == "settled"

    ledger.now += 1
    again = ledger.ask(reserve("1", 10), reserve("2", 10))
    assert [(one.outcome, one.previous) for one in again] == [("granted", None), ("granted", None)]


def test_what_still_counts_is_kept_for_ever() -> None:
    ledger = Partition()
    ledger.ask(reserve("held", 1, hold_ms=7 * DAY), reserve("lost", 2), request("unknown", "lost"))

    for _ in range(60):
        ledger.now += DAY // 10
        ledger.ask(settle("nobody", 1))

    assert holds(ledger) == {"held", "lost"}
    assert ledger.ask_one(settle("lost", 2)).outcome == "settled"


def test_rows_whose_time_is_over_leave_the_store_as_tombstones_a_few_with_each_request() -> None:
    ledger = Partition()
    ledger.ask(*(reserve(str(number), 1) for number in range(40)), *(settle(str(number), 1) for number in range(40)))
    ledger.now += ANSWERS_KEPT_MS

    removed: list[Written] = []
    while holds(ledger):
        before = len(holds(ledger))
        batch = ledger.state.batch([ledger.next(settle("nobody", 1))], everybody)
        ledger.state.apply(batch)
        removed += [one for one in batch.written if one.row is None]
        assert 0 < before - len(holds(ledger)) <= 4, "no request pays for an hour's worth"

    assert len(removed) == 40
    assert all(one.raw_row is None and one.raw_key == encode_key(one.key) for one in removed)
    rows = [Written(key, row, encode_key(key), encode_row(row)) for key, row in ledger.state.rows.items()]
    assert State().load(rows, ledger.state.position), "the digest is that of what is left"


def test_a_state_that_was_loaded_prunes_as_one_that_lived_through() -> None:
    ledger = Partition()
    ledger.ask(*(reserve(str(number), 1) for number in range(9)), *(settle(str(number), 1) for number in range(9)))
    loaded = Partition(caps_are_in=False)
    rows = [Written(key, row, encode_key(key), encode_row(row)) for key, row in ledger.state.rows.items()]
    assert loaded.state.load(rows[::-1], ledger.state.position)
    loaded.log = list(ledger.log)

    for one in (ledger, loaded):
        one.now += ANSWERS_KEPT_MS
        for _ in range(2):
            one.ask(settle("nobody", 1))

    assert loaded.state.rows == ledger.state.rows
    assert loaded.state.position == ledger.state.position


def test_a_hold_that_ends_and_passes_within_one_batch_is_not_open_any_more() -> None:
    """As after an outage: the opening of the next day must not bring it back to life."""
    ledger = Partition()
    ledger.ask(reserve("1", 5))
    records = [ledger.next(settle("1", 5))]
    ledger.now += ANSWERS_KEPT_MS
    records.append(ledger.next(settle("nobody", 1)))

    ledger.state.apply(ledger.state.batch(records, everybody))

    assert not holds(ledger)
    assert not ledger.state.open


def test_sums_of_windows_leave_the_core_a_day_after_their_end() -> None:
    ledger = Partition()
    ledger.ask(reserve("1", 5, hold_ms=7 * DAY))
    windows = {key for key in ledger.state.rows if isinstance(key, WindowKey)}
    ledger.now += 2 * DAY
    ledger.ask(settle("nobody", 1))
    assert not windows & set(ledger.state.rows)

    late = ledger.ask_one(settle("1", 7))

    assert (late.outcome, late.overrun_micro_usd) == ("settled", 2)
    assert not windows & set(ledger.state.rows), "tables and journal add it; here it would begin from nothing"


def test_a_cap_that_a_person_set_is_still_in_force_after_a_rebuild_from_any_day(tmp_path: Path) -> None:
    path = tmp_path / "budgets.toml"
    path.write_text('[default.transcribe]\nhour = "1.00"\n')
    filed = load(path)
    ledger = Partition(caps_are_in=False)
    ledger.ask(*differences(filed, {}, owns=everybody, at=ledger.moment))
    ledger.ask(set_cap("hour", 5))
    ledger.now += DAY
    ledger.ask(settle("nobody", 1))
    opened = next(n for n, d in enumerate(ledger.decisions) if d.request_id == "day:2026-03-02")

    rebuilt = fold(ledger.decisions[opened:])

    caps = {key: row for key, row in rebuilt.items() if isinstance(key, CapKey) and isinstance(row, CapRow)}
    assert caps == ledger.state.caps
    assert caps[CapKey("default", "transcribe", "hour")].cap == 5
    assert differences(filed, caps, owns=everybody, at=ledger.moment) == [], "the file says nothing new"


def test_only_the_budgets_file_speaks_as_the_budgets_file() -> None:
    ledger = Partition()
    forged = set_cap("hour", 100).model_copy(
        update={"request_id": "budgets-file:default:transcribe:hour:100:enforce"}
    )
    assert ledger.ask_one(forged).outcome == "invalid"


def test_a_fold_from_the_start_is_byte_for_byte_the_rows() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100))
    for number in range(200):
        ledger.now += 7 * MINUTE
        ledger.ask(reserve(str(number), number % 120, hold_ms=HOUR), settle(str(number // 2), number % 90))

    rows = present(ledger.state.rows, ledger.state.position.at)

    assert {encode_key(k): encode_row(r) for k, r in fold(ledger.decisions).items()} == {
        encode_key(k): encode_row(r) for k, r in rows.items()
    }
