"""Every command ends with its answer or with one sentence, and with a status that means something."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from millrace.cli.main import app
from millrace.contracts.events import TaskState
from millrace.contracts.share_api import ShareRequest, ShareView
from tests.support.command_line import Answer, run, sentence
from tests.unit.cli.build import ID, share, stage

ACCEPTED = {"share_id": ID, "href": f"/shares/{ID}", "stages": ["embed"]}


class Gateway:
    """Answers as a gateway would, and keeps what it was asked."""

    def __init__(self, view: ShareView | None = None) -> None:
        self.view = view or share(stage("embed"))
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        if request.method == "POST":
            return httpx.Response(202, json=ACCEPTED)
        return httpx.Response(200, content=self.view.model_dump_json())

    def shared(self) -> ShareRequest:
        return ShareRequest.model_validate_json(self.requests[0].content)


@pytest.mark.parametrize("name", ["notes.txt", "README.MD"])
def test_a_text_file_is_shared_as_text_under_its_name(tmp_path: Path, name: str) -> None:
    gateway, file = Gateway(), tmp_path / name
    file.write_bytes("\ufeffZürich, für später".encode())
    assert run(gateway, "share", "add", str(file)).exit_code == 0
    assert gateway.shared() == ShareRequest(text="Zürich, für später", title=name)


def test_a_text_comes_from_stdin_or_the_command_line() -> None:
    piped, typed = Gateway(), Gateway()
    run(piped, "share", "add", "-", stdin=b"from a pipe")
    run(typed, "share", "add", "typed words", "--text", "--title", "T")
    assert piped.shared().text == "from a pipe"
    assert typed.shared() == ShareRequest(text="typed words", title="T")


def test_a_text_file_in_another_encoding_is_refused_and_nothing_is_sent(tmp_path: Path) -> None:
    gateway, file = Gateway(), tmp_path / "old.txt"
    file.write_bytes("Zürich".encode("latin-1"))
    result = run(gateway, "share", "add", str(file))
    assert result.exit_code == 78
    assert "not text in UTF-8" in sentence(result)
    assert gateway.requests == []


@pytest.mark.parametrize(("state", "status"), [("done", 0), ("failed", 1), ("cancelled", 1), ("parked", 75)])
def test_waiting_ends_with_what_became_of_the_share(state: str, status: int) -> None:
    gateway = Gateway(share(stage("embed"), state=state))  # type: ignore[arg-type] # the parameters are its words
    result = run(gateway, "share", "add", "words", "--text", "--wait", "--json")
    assert result.exit_code == status
    assert json.loads(result.stdout)["state"] == state
    assert result.stderr == ""


def cancelling(*looks: ShareView) -> Answer:
    """A gateway whose share's only stage runs when it is cancelled, and then is as each look at it shows."""
    views = list(looks)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            assert request.url.path == f"/shares/{ID}/cancel"
            stages = [{"stage": "embed", "state": "running", "outcome": "stopping"}]
            return httpx.Response(200, json={"share_id": ID, "stages": stages})
        view = views.pop(0) if len(views) > 1 else views[0]
        return httpx.Response(200, content=view.model_dump_json())

    return answer


@pytest.mark.parametrize(("state", "outcome"), [("cancelled", "cancelled"), ("done", "over")])
def test_cancelling_waits_for_what_runs_and_says_how_it_ended(state: TaskState, outcome: str) -> None:
    looks = [share(stage("embed", "running"), state="running"), share(stage("embed", state), state="done")]
    result = run(cancelling(*looks), "share", "cancel", ID, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["stages"] == [{"stage": "embed", "state": state, "outcome": outcome}]
    assert result.stderr == "Stopping embed.\n"


def test_what_does_not_stop_soon_is_said_and_ends_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.cli.share.STOP_PATIENCE_S", 0.0)
    result = run(cancelling(share(stage("embed", "running"), state="running")), "share", "cancel", ID)
    assert result.exit_code == 75
    assert "still being stopped" in result.stdout


def test_what_is_no_file_is_said_with_what_could_be_given() -> None:
    result = run(Gateway(), "share", "add", "nothere.mp4")
    assert result.exit_code == 78
    assert "There is no file nothere.mp4" in sentence(result)


@pytest.mark.parametrize("command", [["share", "show", ID], ["search", "x"], ["budget", "show"]])
def test_a_gateway_that_is_away_is_one_sentence_with_its_own_status(command: list[str]) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    result = run(refuse, *command, "--json")
    assert result.exit_code == 69
    assert "does not answer" in sentence(result)


def test_a_refusal_of_the_gateway_is_its_sentence() -> None:
    problem = {"title": "Not found", "status": 404, "detail": "There is no share with this id."}
    result = run(lambda _: httpx.Response(404, json=problem), "share", "show", ID)
    assert result.exit_code == 1
    assert sentence(result) == "millrace: There is no share with this id.\n"


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://", "http://[bad", "http://x:port"])
def test_what_is_no_url_of_a_gateway_is_said(url: str) -> None:
    result = run(Gateway(), "budget", "show", "--gateway", url)
    assert result.exit_code == 78
    assert "is not the URL of a gateway" in sentence(result)


@pytest.mark.parametrize(
    "command",
    [
        ["share", "show", "../budget"],
        ["share", "add"],
        ["search", "  "],
        ["search", "--like", "s", "--cursor", "1.h.0123456789abcdef"],
        ["search", "--like", "s", "--two-phase"],
        ["bogus"],
        ["up", "--port", "0"],
    ],
)
def test_a_wrong_command_line_ends_2_and_asks_nothing(command: list[str]) -> None:
    gateway = Gateway()
    result = run(gateway, *command)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert gateway.requests == []


def test_nothing_running_is_said_with_both_ways_out(tmp_path: Path) -> None:
    environment = {"XDG_DATA_HOME": str(tmp_path), "MILLRACE_GATEWAY": ""}
    result = CliRunner().invoke(app, ["budget", "show"], env=environment)
    assert result.exit_code == 69
    assert "`millrace up`" in sentence(result)
    assert "--gateway" in result.stderr
