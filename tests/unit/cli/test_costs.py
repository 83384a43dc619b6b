"""`millrace costs`, as it reads."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx

from millrace.cli.costs import costs_report, course
from millrace.contracts.analytics_api import CostBucket, CostGroup, CostsAnswer, CostSums, Kind
from millrace.contracts.api import Problem
from millrace.money import ZERO, MicroUSD
from tests.support.command_line import lines, run, sentence
from tests.unit.cli.build import NOW


def sums(settled: int = 0, calls: int = 0) -> CostSums:
    return CostSums(
        settled_micro_usd=MicroUSD(settled),
        held_micro_usd=ZERO,
        unconfirmed_micro_usd=ZERO,
        overrun_micro_usd=ZERO,
        calls=calls,
    )


def answer(kind: Kind, settled: int, model: str | None = "m") -> CostsAnswer:
    return CostsAnswer(
        kind=kind,
        window="1h",
        group_by="model",
        since=NOW,
        until=NOW + timedelta(hours=1),
        totals=sums(settled, 2),
        groups=[CostGroup(key=model, percent=100, **dict(sums(settled, 2)))] if settled else [],
        bucket="hour",
        series=[CostBucket(start=NOW, **dict(sums(settled, 2)))],
    )


def test_costs_read_by_kind_and_group_and_strangers_names_are_plain() -> None:
    found = [answer("transcription", 1_250_000, "[red]\x1bwhisper"), answer("llm", 0), answer("vector", 42, None)]
    assert lines(costs_report(found), width=100) == [
        "Costs, 2030-01-02 03:04 to 2030-01-02 04:04 UTC",
        "model spent held unconfirmed calls",
        "transcription $1.25 $0.00 $0.00 2 █",
        "[red]\N{REPLACEMENT CHARACTER}whisper $1.25 $0.00 $0.00 2 100 %",
        "llm $0.00 $0.00 $0.00 2",
        "vector $0.000042 $0.00 $0.00 2 █",
        "not known $0.000042 $0.00 $0.00 2 100 %",
        "in all $1.250042",
    ]


def test_a_course_shows_the_least_amount_and_the_most() -> None:
    assert course([MicroUSD(amount) for amount in (0, 1, 500, 1000)]) == " ▁▄█"
    assert course([ZERO, ZERO]) == "  "


def test_all_kinds_are_asked_for_what_was_wanted() -> None:
    asked: list[str] = []

    def gateway(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path.decode())
        return httpx.Response(200, content=answer("llm", 5).model_dump_json().encode())

    result = run(gateway, "costs", "--window", "30d", "--group-by", "day", "--account", "a", "--json")
    kinds = ("transcription", "llm", "vector")
    assert asked == [f"/api/ml/analytics/{kind}/costs?window=30d&group_by=day&account=a" for kind in kinds]
    assert [one["totals"]["settled_micro_usd"] for one in json.loads(result.stdout)["costs"]] == [5, 5, 5]


def test_a_window_that_there_is_not_is_refused_before_anybody_is_asked() -> None:
    result = run(lambda _: httpx.Response(500), "costs", "--window", "2h")
    assert result.exit_code == 2
    assert "2h" in result.stderr


def test_who_is_no_admin_is_told_so() -> None:
    problem = Problem(title="Not allowed", status=403, detail="This is for admins.")
    result = run(lambda _: httpx.Response(403, content=problem.model_dump_json().encode()), "costs")
    assert "This is for admins." in sentence(result)
