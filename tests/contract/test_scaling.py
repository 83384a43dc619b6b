"""When agents are scaled: the chart's own query, answered by Prometheus' engine for what a real ledger would tell."""

from __future__ import annotations

import ast
import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from millrace.clock import ManualClock, from_millis
from millrace.contracts.events import CostRequest
from services.cost_ledger import metrics
from services.cost_ledger.present import PresentWindows
from services.cost_ledger.spend import Decided, SpendBook
from tests.contract.test_chart import chart, one
from tests.support.manifests import Document
from tests.support.tools import tool
from tests.unit.ledger.build import HOUR, NOON, Partition, reserve, set_cap, settle

CENTS: Final = 10_000
HOME: Final = 'namespace="ml"'


class Ledger:
    """The ledger's decisions, its tables and the gauges that come of them, without Kafka."""

    def __init__(self, *asked: CostRequest) -> None:
        self._partition = Partition()
        self._clock = ManualClock(from_millis(NOON))
        self._books = (SpendBook("hour", {}, lambda _: 0), SpendBook("day", {}, lambda _: 0))
        self._registry = CollectorRegistry()
        self._present = PresentWindows(self._clock)
        self._registry.register(self._present)
        self._seen = 0
        self.asks(*asked)

    def asks(self, *asked: CostRequest) -> list[str]:
        """Decide, and keep the tables; the outcomes."""
        outcomes: list[str] = [decision.outcome for one in asked for decision in self._partition.ask(one)]
        for decision in self._partition.decisions[self._seen :]:
            decided = Decided(0, 2 * self._seen, decision)
            self._seen += 1
            for book in self._books:
                for name in book.apply(decided):
                    self._present.note(book.published(name))
        return outcomes

    def an_hour_later(self) -> None:
        self._partition.now += HOUR
        self._clock.advance(timedelta(hours=1))

    def series(self, home: str = HOME) -> dict[str, float]:
        """What Prometheus has of it after a scrape."""
        text = generate_latest(self._registry).decode() + generate_latest(metrics.JOURNALED).decode()
        return {
            f"{sample.name}{{{','.join([home, *(f'{k}={v!r}' for k, v in sample.labels.items())])}}}": sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


class Scaler(NamedTuple):
    """A ScaledObject as KEDA and the autoscaler go by it."""

    query: str
    formula: str
    target: float
    least: int
    most: int

    def workers(self, *, lag: int, room: float) -> int:
        """How many workers there should be, but for what changes are held back."""
        wanted = _product(self.formula, {"lag": lag, "room": room})
        return min(max(math.ceil(wanted / self.target), self.least), self.most)


def _product(formula: str, values: Mapping[str, float]) -> float:
    """KEDA's formulas are arithmetic in names of triggers; ours is a product."""
    tree = ast.parse(formula, mode="eval").body
    assert isinstance(tree, ast.BinOp)
    assert isinstance(tree.op, ast.Mult)
    assert isinstance(tree.left, ast.Name)
    assert isinstance(tree.right, ast.Name)
    return values[tree.left.id] * values[tree.right.id]


@cache
def scaler(name: str, values: str = "default") -> Scaler:
    spec = one(chart(values), "ScaledObject", name)["spec"]
    lag, room = spec["triggers"]
    assert (lag["name"], lag["type"], room["name"], room["type"]) == ("lag", "kafka", "room", "prometheus")
    modifiers = spec["advanced"]["scalingModifiers"]
    return Scaler(
        room["metadata"]["query"],
        modifiers["formula"],
        float(modifiers["target"]),
        spec["minReplicaCount"],
        spec["maxReplicaCount"],
    )


Scrapes = Sequence[Mapping[str, float]]
"""What there is to scrape, a minute apart; a series that is not among it any more is stale."""


def ask(folder: Path, query: str, scrapes: Scrapes, answers: Sequence[float]) -> subprocess.CompletedProcess[str]:
    """Have promtool compare what the query answers at each scrape."""
    names = sorted({name for scrape in scrapes for name in scrape})
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": " ".join(_values(name, scrapes))} for name in names],
        "promql_expr_test": [
            {"expr": query, "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": answer}]}
            for minute, answer in enumerate(answers)
        ],
    }
    file = folder / "room.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}))
    return subprocess.run(
        [tool("promtool"), "test", "rules", file], capture_output=True, text=True, check=False, timeout=60
    )


def _values(name: str, scrapes: Scrapes) -> Iterator[str]:
    missing = "_"
    for scrape in scrapes:
        yield str(scrape.get(name, missing))
        if name in scrape:
            missing = "stale"


def rooms(folder: Path, *answers: tuple[Mapping[str, float], float], name: str = "transcribe-agent") -> None:
    """At each scrape the query answers so."""
    answer = ask(folder, scaler(name).query, [scrape for scrape, _ in answers], [room for _, room in answers])
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_stage_with_money_has_room_and_a_spent_one_none(tmp_path: Path) -> None:
    ledger = Ledger(set_cap("hour", 100 * CENTS, "a"), reserve("1", 40 * CENTS), settle("1", 40 * CENTS))
    some = ledger.series()
    assert ledger.asks(reserve("2", 58 * CENTS), settle("2", 58 * CENTS), reserve("3", 5 * CENTS))[-1] == "denied"
    spent = ledger.series()
    rooms(tmp_path, (some, 1), (spent, 0))


def test_money_that_is_held_is_not_there_for_more_workers(tmp_path: Path) -> None:
    ledger = Ledger(set_cap("hour", 100 * CENTS, "a"), reserve("1", 98 * CENTS))
    held = ledger.series()
    ledger.asks(settle("1", 10 * CENTS))
    rooms(tmp_path, (held, 0), (ledger.series(), 1))


def test_a_raised_cap_is_room_again(tmp_path: Path) -> None:
    ledger = Ledger(set_cap("day", 100 * CENTS, "a"), reserve("1", 100 * CENTS), settle("1", 100 * CENTS))
    spent = ledger.series()
    assert ledger.asks(set_cap("day", 500 * CENTS, "a")) == ["cap-changed"]
    rooms(tmp_path, (spent, 0), (ledger.series(), 1))


def test_a_cap_that_is_taken_away_is_room_again(tmp_path: Path) -> None:
    ledger = Ledger(set_cap("hour", 100 * CENTS, "a"), reserve("1", 100 * CENTS), settle("1", 100 * CENTS))
    spent = ledger.series()
    ledger.asks(set_cap("hour", None, "a"))
    rooms(tmp_path, (spent, 0), (ledger.series(), 1))


def test_the_next_hour_is_room_again_unless_the_day_is_spent(tmp_path: Path) -> None:
    ledger = Ledger(set_cap("hour", 100 * CENTS, "a"), reserve("1", 100 * CENTS), settle("1", 100 * CENTS))
    spent = ledger.series()
    ledger.an_hour_later()
    rooms(tmp_path, (spent, 0), (ledger.series(), 1))

    ledger = Ledger(
        set_cap("hour", 100 * CENTS, "a"),
        set_cap("day", 100 * CENTS, "a"),
        reserve("1", 99 * CENTS),
        settle("1", 99 * CENTS),
    )
    spent = ledger.series()
    ledger.an_hour_later()
    rooms(tmp_path, (spent, 0), (ledger.series(), 0))


def test_an_hour_is_spent_however_much_the_day_has_left(tmp_path: Path) -> None:
    caps = set_cap("hour", 100 * CENTS, "a"), set_cap("day", 900 * CENTS, "a")
    ledger = Ledger(*caps, reserve("1", 99 * CENTS), settle("1", 99 * CENTS))
    rooms(tmp_path, (ledger.series(), 0))


def test_the_accounts_total_counts_and_another_stage_does_not(tmp_path: Path) -> None:
    total = Ledger(set_cap("day", 100 * CENTS, "a", "total"), reserve("1", 99 * CENTS, scope="summarize"))
    rooms(tmp_path, (total.series(), 0))
    other = Ledger(set_cap("day", 100 * CENTS, "a", "summarize"), reserve("1", 99 * CENTS, scope="summarize"))
    rooms(tmp_path, (other.series(), 1))
    rooms(tmp_path, (other.series(), 0), name="summarize-agent")


def test_one_account_with_money_is_room_for_it(tmp_path: Path) -> None:
    ledger = Ledger(
        set_cap("day", 100 * CENTS, "a"),
        set_cap("day", 100 * CENTS, "b"),
        reserve("1", 99 * CENTS, "a"),
        reserve("2", 10 * CENTS, "b"),
    )
    some = ledger.series()
    ledger.asks(reserve("3", 89 * CENTS, "b"))
    rooms(tmp_path, (some, 1), (ledger.series(), 0))


def test_without_a_ledger_nobody_knows_of_money(tmp_path: Path) -> None:
    there = Ledger(set_cap("day", 100 * CENTS, "a")).series()
    rooms(tmp_path, (there, 1), ({}, 0))


def test_another_installations_money_is_not_ours(tmp_path: Path) -> None:
    ours = Ledger(set_cap("day", 100 * CENTS, "a"), reserve("1", 99 * CENTS)).series()
    theirs = Ledger(set_cap("day", 100 * CENTS, "a"), reserve("1", 10 * CENTS)).series('namespace="other"')
    rooms(tmp_path, ({**ours, **theirs}, 0), (theirs, 0))


def test_promtool_would_say_so_if_the_query_answered_something_else(tmp_path: Path) -> None:
    spent = Ledger(set_cap("day", 100 * CENTS, "a"), reserve("1", 99 * CENTS)).series()
    assert ask(tmp_path, scaler("transcribe-agent").query, [spent], [1]).returncode != 0


@pytest.mark.parametrize(
    ("lag", "room", "workers"),
    [
        (0, 1, 1),  # all that there is to do is parked or waits: that is acknowledged, and no lag
        (0, 0, 1),  # who moves what is parked is always there
        (10, 1, 1),
        (11, 1, 2),
        (35, 1, 4),
        (10_000, 1, 4),  # no more than partitions
        (10_000, 0, 1),
    ],
)
def test_workers_follow_the_lag_as_long_as_there_is_money(lag: int, room: float, workers: int) -> None:
    assert scaler("transcribe-agent").workers(lag=lag, room=room) == workers


def test_what_spends_nothing_is_scaled_on_lag_alone() -> None:
    spec = one(chart(), "ScaledObject", "media-agent")["spec"]
    assert [trigger["type"] for trigger in spec["triggers"]] == ["kafka"]
    assert "scalingModifiers" not in spec["advanced"]


def _cool_downs(document: Document) -> tuple[int, int]:
    spec = document["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    return spec["cooldownPeriod"], behavior["scaleDown"]["stabilizationWindowSeconds"]


def test_workers_are_taken_away_only_after_more_than_five_minutes() -> None:
    scaled = [document for document in chart("everything") if document["kind"] == "ScaledObject"]
    assert len(scaled) == 5
    assert all(min(_cool_downs(document)) > 300 for document in scaled)
    assert all(document["spec"]["minReplicaCount"] >= 1 for document in scaled)
