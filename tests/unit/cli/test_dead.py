"""`millrace dead`: what is asked of the gateway, and how the answers read."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.command_line import run, sentence
from tests.unit.cli.build import NOW

LETTER: dict[str, Any] = {
    "id": "d-1",
    "stage": "summarize",
    "state": "open",
    "share_id": "s-1",
    "error": "Poison",
    "reason": "the API refuses\nthis request",
    "attempts": 1,
    "died_at": NOW.isoformat(),
    "place": "summarize.dead-0@4",
    "origin": "share.created-1@2",
    "size_bytes": 42,
}
WHOLE = {
    **LETTER,
    "service": "millrace-summarize-agent",
    "stack": "Traceback: here\n",
    "options": {},
    "key": "cw==",
    "value": "AA==",
    "headers": {},
    "event": {"text": "Words."},
}


class Gateway:
    """Has one letter, and does `batches` of bulk work."""

    def __init__(self, *batches: dict[str, Any], letters: list[dict[str, Any]] | None = None) -> None:
        self.batches = list(batches)
        self.letters = [LETTER] if letters is None else letters
        self.asked: list[tuple[str, str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.raw_path.decode(), json.loads(request.read() or b"null")))
        path = request.url.path
        if path in ("/dead/redrive", "/dead/discard"):
            return httpx.Response(200, json=self.batches.pop(0))
        if request.method == "POST":
            done = {"changed_at": NOW.isoformat(), "changed_by": "ada", "repeated": "again" in path}
            state = "redriven" if path.endswith("redrive") else "discarded"
            return httpx.Response(200, json={**LETTER, **done, "state": state})
        return httpx.Response(200, json={"letters": self.letters, "next": "7"} if path == "/dead" else WHOLE)


def test_the_list_is_of_what_is_open_with_the_way_to_the_next() -> None:
    gateway = Gateway()
    result = run(gateway, "dead", "list", "--stage", "summarize", "--error", "Poison", "--limit", "1")
    assert result.exit_code == 0
    assert gateway.asked == [("GET", "/dead?stage=summarize&state=open&error=Poison&limit=1", None)]
    assert [" ".join(line.split()) for line in result.stdout.splitlines()] == [
        "died (UTC) stage error tries state id reason",
        "2030-01-02 03:04 summarize Poison 1 open d-1 the API refuses this request",
        "There are older ones: --cursor 7",
    ]
    assert run(Gateway(letters=[]), "dead", "list").stdout == "No dead letters.\n"


def test_all_states_are_asked_for_by_naming_none() -> None:
    gateway = Gateway()
    assert json.loads(run(gateway, "dead", "list", "--state", "all", "--json").stdout)["letters"][0]["id"] == "d-1"
    assert gateway.asked[0][1] == "/dead?limit=100"


def test_one_letter_says_where_it_came_from_and_what_it_says() -> None:
    shown = run(Gateway(), "dead", "show", "d/1").stdout
    for text in (
        "share.created-1@2",
        "summarize.dead-0@4",
        "Poison after 1 try",
        '"text": "Words."',
        "Traceback: here",
    ):
        assert text in shown
    gateway = Gateway()
    assert json.loads(run(gateway, "dead", "show", "d/1", "--json").stdout)["value"] == "AA=="
    assert gateway.asked[0][1] == "/dead/d%2F1"


@pytest.mark.parametrize(
    ("verb", "letter_id", "said"),
    [
        ("redrive", "d-1", "d-1 is redriven: summarize tries it anew. Watch it: millrace share show s-1\n"),
        ("redrive", "again", "d-1 was redriven already, at 2030-01-02 03:04 UTC by ada.\n"),
        ("discard", "d-1", "d-1 is discarded; it is kept, and can still be redriven.\n"),
    ],
)
def test_one_letter_is_decided_at_once(verb: str, letter_id: str, said: str) -> None:
    gateway = Gateway()
    assert run(gateway, "dead", verb, letter_id).stdout == said
    assert gateway.asked == [("POST", f"/dead/{letter_id}/{verb}", None)]


def test_many_are_only_counted_without_yes() -> None:
    gateway = Gateway({"matched": 12, "changed": 0})
    result = run(gateway, "dead", "redrive", "--stage", "summarize", "--since", "2030-01-31T03:00")
    assert result.exit_code == 0
    assert result.stdout == "12 dead letters of summarize would be redriven. Repeat it with --yes to do it.\n"
    (asked,) = gateway.asked
    assert asked[:2] == ("POST", "/dead/redrive")
    assert (asked[2]["dry_run"], asked[2]["since"]) == (True, "2030-01-31T03:00:00Z")


def test_many_are_done_batch_by_batch_with_progress_and_what_cannot_be_is_told() -> None:
    refused = [{"id": "d-9", "reason": "Its bytes still cannot be read."}]
    gateway = Gateway(
        {"matched": 3, "changed": 2, "next": "5.9.0123456789abcdef0123456789abcdef"},
        {"matched": 1, "changed": 0, "refused": refused, "next": None},
    )
    result = run(gateway, "dead", "redrive", "--stage", "summarize", "--error", "Poison", "--yes")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "2 of 3 done.",
        "2 dead letters are redriven.",
        "1 dead letter cannot be:",
        "  d-9: Its bytes still cannot be read.",
    ]
    assert [asked[2]["cursor"] for asked in gateway.asked] == [None, "5.9.0123456789abcdef0123456789abcdef"]

    whole = Gateway({"matched": 1, "changed": 1})
    result = run(whole, "dead", "discard", "--stage", "summarize", "--yes", "--json")
    assert (result.exit_code, json.loads(result.stdout)["changed"], result.stderr) == (0, 1, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["redrive"],
        ["redrive", "d-1", "--stage", "summarize"],
        ["discard", "d-1", "--error", "Poison"],
        ["redrive", "--stage", "nope"],
        ["redrive", "--stage", "embed", "--error", "a b"],
        ["list", "--since", "yesterday"],
        ["list", "--since", "999999d"],
        ["list", "--limit", "0"],
    ],
)
def test_a_wrong_command_line_ends_2_and_asks_nothing(arguments: list[str]) -> None:
    gateway = Gateway()
    result = run(gateway, "dead", *arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert gateway.asked == []


def test_a_refusal_is_its_sentence() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(409, json={"title": "t", "status": 409, "detail": "It was redriven."})

    result = run(refuse, "dead", "discard", "d-1", "--json")
    assert result.exit_code == 1
    assert sentence(result) == "millrace: It was redriven.\n"
