"""`millrace share list` and `share retry` against a gateway of a few lines."""

from __future__ import annotations

import json

import httpx

from tests.support.command_line import run
from tests.unit.cli.build import ID

ROW = {
    "share_id": ID,
    "title": "Two\nlines \x1b[31mred",
    "source_kind": "text",
    "platform": "web",
    "content_type": "article",
    "created_at": "2026-11-28T05:00:00Z",
    "state": "failed",
    "cost_micro_usd": 1_500,
    "stages": [{"stage": "embed", "state": "failed"}],
}


def test_shares_are_listed_a_line_each_with_the_next_page() -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, json={"shares": [ROW], "next": "17.x"})

    shown = run(answer, "share", "list", "--state", "failed", "--limit", "1", "--cursor", "18.y")
    assert shown.exit_code == 0
    assert dict(asked[0].params) == {"limit": "1", "cursor": "18.y", "state": "failed"}
    assert "2026-11-28 05:00" in shown.stdout
    assert "There are older ones: --cursor 17.x" in shown.stdout
    assert "\x1b[31m" not in shown.stdout, "a title is no command to a terminal"
    machine = run(answer, "share", "list", "--json")
    assert json.loads(machine.stdout)["shares"][0]["share_id"] == ID


def test_no_shares_is_said() -> None:
    shown = run(lambda _: httpx.Response(200, json={"shares": [], "next": None}), "share", "list")
    assert (shown.exit_code, shown.stdout) == (0, "No shares.\n")


def test_a_retry_says_which_stages_are_tried_again() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, request.url.path) == ("POST", f"/shares/{ID}/retry")
        return httpx.Response(200, json={"share_id": ID, "stages": ["transcribe", "embed"]})

    shown = run(answer, "share", "retry", ID)
    assert shown.exit_code == 0
    assert "Tried again: transcribe, embed." in shown.stdout
    none = run(lambda _: httpx.Response(200, json={"share_id": ID, "stages": []}), "share", "retry", ID)
    assert "Nothing of it has failed" in none.stdout
