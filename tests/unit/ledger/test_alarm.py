"""Alerts through the recorder: none is lost, none is new when it comes again, whatever dies in between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import pytest

from millrace.clock import ManualClock, from_millis
from millrace.contracts.events import CostAlert, CostRequest, CostSpend
from millrace.money import MicroUSD
from services.cost_ledger.alarm import LedgerAlarm
from services.cost_ledger.alerts import id_of
from services.cost_ledger.present import PresentWindows
from services.cost_ledger.recorder import Arrived
from services.cost_ledger.spend import Decided, JsonRow, SpendBook, WindowName
from tests.support.spend_world import World
from tests.support.waiting import eventually
from tests.unit.ledger.build import DAY, HOUR, NOON, Partition, request, reserve, set_cap, settle


class Outlet:
    """Keeps what was written to it; `outages` refuses, `deaths` ends the process after all is written."""

    def __init__(self) -> None:
        self.alerts: list[CostAlert] = []
        self.outages = 0
        self.deaths = 0

    async def write(self, alerts: Sequence[CostAlert]) -> None:
        if self.outages:
            self.outages -= 1
            raise asyncpg.PostgresConnectionError
        self.alerts += alerts
        if self.deaths:
            self.deaths -= 1
            raise RuntimeError("killed")

    def seen(self) -> list[tuple[str, str, int]]:
        return [(alert.window, alert.kind, alert.percent) for alert in self.alerts]

    def ids(self) -> list[str]:
        return [id_of(alert) for alert in self.alerts]


class Rows(dict[str, JsonRow]):
    """A table that counts the writes of windows' rows, each a changelog message."""

    writes = 0

    def __setitem__(self, key: str, value: JsonRow) -> None:
        self.writes += not key.startswith("|")
        super().__setitem__(key, value)


class Alarmed:
    """A ledger's recorder with an alarm; time on the wall is the log's unless it is set."""

    def __init__(self) -> None:
        self.ledger = Partition()
        self.clock = ManualClock(from_millis(NOON))
        self.table, self.topic = Outlet(), Outlet()
        self.world = World([Decided(0, 2 * n, d) for n, d in enumerate(self.ledger.decisions)])
        self.world.hours, self.world.days = Rows(), Rows()
        self.new_life()

    def new_life(self) -> None:
        self.present = PresentWindows(self.clock)
        self.world.alarm = LedgerAlarm((self.table, self.topic), self.present, self.clock)

    def decide(self, *requests: CostRequest) -> list[Decided]:
        before = len(self.ledger.decisions)
        self.ledger.ask(*requests)
        new = [Decided(0, 2 * n, d) for n, d in enumerate(self.ledger.decisions) if n >= before]
        self.world.log.decided += new
        return new

    async def record(self, *requests: CostRequest) -> None:
        await self.world.live(self.decide(*requests))

    async def die_recording(self, arriving: Sequence[Decided]) -> None:
        """Record until the process ends of it."""
        recorder = self.world.recorder()
        await recorder.start()
        for one in arriving:
            await recorder.put(Arrived(one, lambda: None, lambda: True))
        await eventually(lambda: bool(self.world.failures), "the process to end", every_s=0)
        await recorder.stop()
        self.world.failures.clear()
        self.new_life()


@pytest.fixture
def alarmed() -> Alarmed:
    return Alarmed()


async def test_a_threshold_is_written_down_and_published_once(alarmed: Alarmed) -> None:
    await alarmed.record(set_cap("hour", 1000), reserve("1", 600))
    await alarmed.record(reserve("2", 100))
    await alarmed.record(request("release", "1"))
    await alarmed.record(reserve("3", 600))
    await alarmed.record(reserve("4", 250))

    assert alarmed.topic.seen() == [("hour", "threshold", 50), ("hour", "threshold", 80)]
    assert alarmed.table.alerts == alarmed.topic.alerts
    assert [alert.used_micro_usd for alert in alarmed.topic.alerts] == [600, 950]


async def test_a_table_is_written_for_an_alert_only_when_there_is_one(alarmed: Alarmed) -> None:
    hours = alarmed.world.hours
    assert isinstance(hours, Rows)
    await alarmed.record(set_cap("hour", 1000), reserve("1", 100))
    quiet = hours.writes
    assert quiet == 2, "the scope's row and the total's"

    await alarmed.record(reserve("2", 500))

    assert hours.writes == 2 * quiet + 1


async def test_a_process_that_dies_once_the_alert_is_out_raises_it_again_with_the_same_id(alarmed: Alarmed) -> None:
    alarmed.topic.deaths = 1
    decided = alarmed.decide(set_cap("hour", 1000), reserve("1", 600))
    await alarmed.die_recording(decided)
    await alarmed.world.live(decided)
    await alarmed.world.live(decided)

    assert alarmed.topic.seen() == [("hour", "threshold", 50)] * 2, "again by the next life, and then no more"
    assert len(set(alarmed.topic.ids())) == 1


async def test_an_alert_that_did_not_get_out_before_the_process_died_is_raised_by_the_next(alarmed: Alarmed) -> None:
    alarmed.table.deaths = 1
    await alarmed.record(set_cap("hour", 1000))
    await alarmed.die_recording(alarmed.decide(reserve("1", 600)))
    assert alarmed.topic.alerts == []

    await alarmed.record(reserve("2", 10))

    assert alarmed.topic.seen() == [("hour", "threshold", 50)]
    assert alarmed.topic.alerts[0].used_micro_usd == 600


async def test_while_the_database_is_away_nothing_is_published_and_nothing_is_lost(alarmed: Alarmed) -> None:
    alarmed.table.outages = 3
    await alarmed.record(set_cap("hour", 1000), reserve("1", 600))

    assert alarmed.table.outages == 0
    assert alarmed.topic.seen() == [("hour", "threshold", 50)]


async def test_a_lost_table_is_rebuilt_without_alerts_about_windows_that_are_over(alarmed: Alarmed) -> None:
    await alarmed.record(set_cap("hour", 1000), set_cap("day", 1000), reserve("1", 900), settle("1", 950))
    assert set(alarmed.topic.seen()) == {
        (window, kind, percent) for window in ("hour", "day") for kind, percent in (("threshold", 80), ("overrun", 0))
    }
    alarmed.world.hours.clear()
    alarmed.world.days.clear()
    alarmed.topic.alerts.clear()
    alarmed.ledger.now += 2 * DAY
    alarmed.clock.advance(timedelta(days=2))

    await alarmed.record(reserve("2", 10))

    assert len(alarmed.world.journaled()) == len(alarmed.ledger.log)
    assert alarmed.world.hours[f"a|transcribe|{NOON}"]["settled"] == 950
    assert alarmed.topic.alerts == []


async def test_a_lowered_cap_is_noticed_at_once_and_forecast_from_the_rate_of_now(alarmed: Alarmed) -> None:
    await alarmed.record(set_cap("hour", 10_000), reserve("1", 100), reserve("2", 100), reserve("3", 100))
    alarmed.ledger.now += 40 * 60_000
    alarmed.clock.advance(timedelta(minutes=40))

    await alarmed.record(set_cap("hour", 400))

    threshold, forecast = alarmed.topic.alerts
    assert (threshold.percent, forecast.kind) == (50, "forecast")
    assert forecast.exhausted_at == from_millis(NOON) + timedelta(minutes=40) * 400 / 300


def spent(account: str, used: int, cap: int | None, start: int = NOON) -> CostSpend:
    book = SpendBook("hour", {}, lambda _: 0)
    row = book.published(WindowName(account, "transcribe", start))
    cap_micro_usd = None if cap is None else MicroUSD(cap)
    return row.model_copy(update={"settled_micro_usd": MicroUSD(used), "cap_micro_usd": cap_micro_usd})


async def test_the_recorder_fills_the_gauges_and_they_end_with_its_partitions(alarmed: Alarmed) -> None:
    recorder = alarmed.world.recorder()
    await recorder.start()
    for one in alarmed.decide(set_cap("hour", 1_000_000), reserve("1", 250_000)):
        await recorder.put(Arrived(one, lambda: None, lambda: True))
    await eventually(lambda: bool(gauges(alarmed.present)), "gauges", every_s=0)
    assert gauges(alarmed.present)["ml_budget_remaining_dollars", "a", "transcribe", "hour"] == 0.75

    await recorder.forget()
    assert gauges(alarmed.present) == {}
    await recorder.stop()


def test_gauges_show_present_windows_with_a_cap_until_they_are_over() -> None:
    clock = ManualClock(from_millis(NOON))
    present = PresentWindows(clock)
    for row in (spent("a", 250_000, 1_000_000), spent("free", 5, None), spent("a", 9, 10, NOON - HOUR)):
        present.note(row)
    assert gauges(present) == {
        ("ml_budget_remaining_dollars", "a", "transcribe", "hour"): 0.75,
        ("ml_budget_usage_ratio", "a", "transcribe", "hour"): 0.25,
    }

    present.note(spent("a", 5, 0))
    assert set(gauges(present).values()) == {0.0, 1.0}, "a cap of nothing"
    present.note(spent("a", 5, None))
    assert gauges(present) == {}, "the cap was taken away"

    present.note(spent("a", 5, 10))
    clock.advance(timedelta(hours=1))
    assert gauges(present) == {}


def test_accounts_without_number_have_no_series_without_number() -> None:
    clock = ManualClock(from_millis(NOON))
    present = PresentWindows(clock, max_accounts=2)
    for account in ("x", "y", "z"):
        present.note(spent(account, 1, 10))
    assert {key[1] for key in gauges(present)} == {"x", "y"}

    clock.advance(timedelta(hours=1))
    present.note(spent("z", 1, 10, NOON + HOUR))
    assert {key[1] for key in gauges(present)} == {"z"}, "what is over makes room"


def gauges(present: PresentWindows) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(sample.labels[name] for name in ("account", "scope", "window"))): sample.value
        for family in present.collect()
        for sample in family.samples
    }
