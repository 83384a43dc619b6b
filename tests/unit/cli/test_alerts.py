"""`millrace budget alerts`, and the forecasts beneath `millrace budget show`."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx

from millrace.cli.alerts import alerts_report
from millrace.cli.budget import budget_report
from millrace.contracts.budget_api import AlertsAnswer, AlertView, BudgetAnswer
from millrace.contracts.events import AlertKind
from millrace.money import MicroUSD
from tests.support.command_line import lines, run
from tests.unit.cli.build import NOW, budget_row


def alert(kind: AlertKind, percent: int) -> AlertView:
    return AlertView(
        alert_id="i",
        account="lab",
        scope="embed",
        window="hour",
        start=NOW.replace(minute=0),
        kind=kind,
        percent=percent,
        used_micro_usd=MicroUSD(600_000),
        cap_micro_usd=MicroUSD(1_000_000),
        exhausted_at=NOW + timedelta(minutes=40) if kind == "forecast" else None,
        raised_at=NOW,
    )


ALERTS = [alert("forecast", 100), alert("overrun", 0), alert("threshold", 50)]


def test_a_budget_that_will_not_last_says_until_when() -> None:
    rows = [
        budget_row("embed", cap=1_000_000, settled=250_000, exhausted_at=NOW + timedelta(minutes=31)),
        budget_row("transcribe", cap=1_000_000, settled=250_000),
    ]
    shown = lines(budget_report(BudgetAnswer(account="default", as_of=NOW, rows=rows)))
    assert shown[4:] == ["embed: at this rate used up at 03:35 UTC ($1.00 for this hour)."]


def test_alerts_read_one_line_each() -> None:
    shown = lines(alerts_report(AlertsAnswer(account="lab", alerts=ALERTS, next="7")), width=100)
    assert shown[2:] == [
        "2030-01-02 03:04 embed hour of 03:00 used up at 03:44 UTC at this rate: $0.60 of $1.00",
        "2030-01-02 03:04 embed hour of 03:00 a call cost more than its hold: $0.60 of $1.00",
        "2030-01-02 03:04 embed hour of 03:00 50 % reached: $0.60 of $1.00",
        "There are older ones: --cursor 7",
    ]
    assert lines(alerts_report(AlertsAnswer(account="lab", alerts=[]))) == ["Alerts of account lab", "None."]


def test_the_command_asks_for_an_account_and_goes_on_at_a_cursor() -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, content=AlertsAnswer(account="lab", alerts=ALERTS).model_dump_json())

    result = run(answer, "budget", "alerts", "--account", "lab", "--cursor", "7", "--json")

    assert result.exit_code == 0, result.stderr
    assert [one["kind"] for one in json.loads(result.stdout)["alerts"]] == ["forecast", "overrun", "threshold"]
    assert asked[0].path == "/budget/alerts"
    assert dict(asked[0].params) == {"account": "lab", "limit": "50", "cursor": "7"}
