"""`millrace budget set`, `unconfirmed` and `reconcile`: what is asked of the gateway, and how the answers read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.command_line import run, sentence
from tests.unit.cli.build import NOW

SINCE = NOW.isoformat()


def cap(window: str, amount: int | None, mode: str = "enforce", account: str = "default") -> dict[str, Any]:
    return {
        "account": account,
        "scope": "embed",
        "window": window,
        "cap_micro_usd": amount,
        "mode": mode,
        "set_by": "budgets-file",
        "since": SINCE,
    }


class Ledger:
    """A gateway that sets every cap that is wished for, and has the given ones and calls."""

    def __init__(self, *caps: dict[str, Any], calls: list[dict[str, Any]] | None = None, woken: int = 0) -> None:
        self.caps = caps
        self.calls = calls or []
        self.woken = woken
        self.asked: list[tuple[str, str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.read() or b"null")
        self.asked.append((request.method, request.url.raw_path.decode(), body))
        if request.method == "PUT":
            before = next((one for one in self.caps if one["window"] == body["window"]), None)
            amount = None if body["cap"] is None else round(float(body["cap"].removeprefix("$")) * 1_000_000)
            now = cap(body["window"], amount, body["mode"] or "enforce", body["account"])
            return httpx.Response(200, json={"before": before, "now": now, "changed": True, "woken": self.woken})
        if request.method == "POST":
            done = {"request_id": "r/1", "account": "a", "scope": "embed", "amount_micro_usd": 300_000}
            return httpx.Response(200, json={**done, "actual_micro_usd": 350_000, "overrun_micro_usd": 50_000})
        if request.url.path == "/budget/caps":
            return httpx.Response(200, json={"account": "default", "caps": self.caps})
        return httpx.Response(200, json={"calls": self.calls, "next": "9.0.1" if self.calls else None})


def test_both_windows_are_set_and_shown_before_and_after() -> None:
    ledger = Ledger(cap("hour", 1_000_000), woken=2)
    result = run(ledger, "budget", "set", "embed", "--hour", "$2.5", "--day", "none")
    assert result.exit_code == 0
    assert ledger.asked == [
        ("PUT", "/budget/caps/embed", {"account": "default", "window": "hour", "cap": "$2.50", "mode": None}),
        ("PUT", "/budget/caps/embed", {"account": "default", "window": "day", "cap": None, "mode": None}),
    ]
    assert result.stdout.splitlines() == [
        "embed by the hour, account default: $1.00 → $2.50",
        "2 parked stages go on.",
        "embed by the day, account default: no cap → no limit",
        "2 parked stages go on.",
    ]


def test_a_mode_alone_keeps_the_amounts() -> None:
    ledger = Ledger(cap("hour", 1_000_000), cap("day", None))
    result = run(ledger, "budget", "set", "embed", "--mode", "warn")
    assert ledger.asked[1:] == [
        ("PUT", "/budget/caps/embed", {"account": "default", "window": "hour", "cap": "$1.00", "mode": "warn"})
    ]
    assert result.stdout == "embed by the hour, account default: $1.00 → $1.00 (only warns)\n"


def test_a_mode_needs_a_cap_of_the_accounts_own() -> None:
    ledger = Ledger(cap("hour", 1_000_000))
    result = run(ledger, "budget", "set", "embed", "--mode", "warn", "--account", "team")
    assert result.exit_code == 78
    assert "Account team has no cap of its own for embed" in sentence(result)
    assert [method for method, _, _ in ledger.asked] == ["GET"]


def test_a_change_is_one_json_document() -> None:
    result = run(Ledger(), "budget", "set", "embed", "--hour", "0", "--account", "team", "--json")
    (change,) = json.loads(result.stdout)["changes"]
    assert (change["before"], change["now"]["cap_micro_usd"], change["now"]["account"]) == (None, 0, "team")


@pytest.mark.parametrize(
    "arguments",
    [
        ["set", "embed"],
        ["set", "media", "--hour", "1"],
        ["set", "embed", "--hour", "1e3"],
        ["set", "embed", "--day", "-1"],
        ["set", "embed", "--day", "10000000.01"],
        ["set", "embed", "--day", "9" * 40],
        ["set", "embed", "--hour", "1", "--mode", "stop"],
        ["set", "embed", "--hour", "1", "--account", "a|b"],
        ["reconcile", "r", "--actual", "free"],
        ["reconcile", "", "--actual", "0"],
        ["reconcile", "r"],
        ["unconfirmed", "--limit", "0"],
    ],
)
def test_a_wrong_command_line_ends_2_and_asks_nothing(arguments: list[str]) -> None:
    ledger = Ledger()
    result = run(ledger, "budget", *arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert ledger.asked == []


def test_unconfirmed_calls_are_a_line_each_with_the_way_to_the_next() -> None:
    call = {"request_id": "r-1", "account": "a", "scope": "embed", "amount_micro_usd": 42, "since": SINCE}
    result = run(Ledger(calls=[call]), "budget", "unconfirmed")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines == [
        "since (UTC) account scope amount request id",
        "2030-01-02 03:04 a embed $0.000042 r-1",
        "There are more: millrace budget unconfirmed --cursor 9.0.1",
    ]
    assert run(Ledger(), "budget", "unconfirmed").stdout == "No call is unconfirmed.\n"


def test_a_call_is_reconciled_by_its_id_alone() -> None:
    ledger = Ledger()
    result = run(ledger, "budget", "reconcile", "r/1", "--actual", "0.35")
    assert ledger.asked == [("POST", "/budget/unconfirmed/r%2F1", {"actual": "$0.35"})]
    assert result.stdout == "r/1 is settled at $0.35; $0.30 had been held, $0.05 above it.\n"


def _silent(_: httpx.Request) -> httpx.Response:
    return httpx.Response(503, json={"title": "t", "status": 503, "detail": "The cost ledger does not answer."})


def _refusing(_: httpx.Request) -> httpx.Response:
    return httpx.Response(409, json={"title": "t", "status": 409, "detail": "The call is settled."})


@pytest.mark.parametrize(("answer", "status"), [(_silent, 69), (_refusing, 1)])
def test_a_refusal_is_its_sentence(answer: Callable[[httpx.Request], httpx.Response], status: int) -> None:
    result = run(answer, "budget", "reconcile", "r", "--actual", "0", "--json")
    assert result.exit_code == status
    assert sentence(result).startswith("millrace: The c")
