"""`millrace share delete` against a gateway of a few lines."""

from __future__ import annotations

import json

import httpx
import pytest

from millrace.cli import delete
from tests.support.command_line import run
from tests.unit.cli.build import ID


class Gateway:
    """Counts what it is asked."""

    def __init__(self, status: int = 204) -> None:
        self.status = status
        self.asked: list[tuple[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.path))
        if self.status == 204:
            return httpx.Response(204)
        problem = {"type": "about:blank", "title": "Not found", "status": 404, "detail": "There is no such share."}
        return httpx.Response(self.status, json=problem)


def test_a_share_is_deleted_and_said_so() -> None:
    gateway = Gateway()
    shown = run(gateway, "share", "delete", ID, "--yes")
    assert (shown.exit_code, shown.stdout) == (0, f"{ID} is deleted.\n")
    assert gateway.asked == [("DELETE", f"/shares/{ID}")]
    machine = run(gateway, "share", "delete", ID, "--yes", "--json")
    assert json.loads(machine.stdout) == {"share_id": ID, "deleted": True}


def test_without_a_terminal_nothing_is_deleted_that_nobody_has_said_yes_to() -> None:
    gateway = Gateway()
    shown = run(gateway, "share", "delete", ID)
    assert (shown.exit_code, shown.stdout, gateway.asked) == (78, "", [])
    assert "--yes" in shown.stderr


@pytest.mark.parametrize(("answer", "asked"), [(True, 1), (False, 0)])
def test_somebody_at_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch, answer: bool, asked: int) -> None:
    gateway = Gateway()
    monkeypatch.setattr(delete, "_confirmed", lambda _: answer)
    shown = run(gateway, "share", "delete", ID)
    assert (len(gateway.asked), shown.exit_code) == (asked, 0 if answer else 78)


def test_a_share_that_is_not_there_ends_with_no() -> None:
    shown = run(Gateway(404), "share", "delete", ID, "--yes")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "no such share" in shown.stderr
