"""`python -m millrace.health`: whom it asks, what it says, how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from millrace.health import address, look, sentence
from tests.support.process import free_port
from tests.support.web import QuietHandler, served


@pytest.mark.parametrize(
    ("arguments", "environment", "asked"),
    [
        ([], {"MILLRACE_OPS_PORT": "9100"}, ("127.0.0.1", 9100, "/readyz")),
        ([], {"MILLRACE_OPS_PORT": "9100", "MILLRACE_OPS_HOST": "0.0.0.0"}, ("127.0.0.1", 9100, "/readyz")),  # noqa: S104 - not listened on
        ([], {"MILLRACE_OPS_PORT": "9100", "MILLRACE_OPS_HOST": "10.1.2.3"}, ("10.1.2.3", 9100, "/readyz")),
        ([], {"MILLRACE_HTTP_PORT": "8080", "MILLRACE_HTTP_HOST": "::"}, ("127.0.0.1", 8080, "/readyz")),
        ([], {"MILLRACE_OPS_PORT": "0", "MILLRACE_HTTP_PORT": "8080"}, ("127.0.0.1", 8080, "/readyz")),
        (["http://127.0.0.1:7/healthz"], {"MILLRACE_OPS_PORT": "9100"}, ("127.0.0.1", 7, "/healthz")),
        (["http://agent:9100/"], {}, ("agent", 9100, "/readyz")),
        (["http://agent"], {}, ("agent", 80, "/readyz")),
    ],
)
def test_it_asks_the_service_that_it_is_told_of(
    arguments: list[str], environment: dict[str, str], asked: tuple[str, int, str]
) -> None:
    assert address(arguments, environment) == asked


@pytest.mark.parametrize("arguments", [[], ["https://agent:9100"], ["agent:9100"], ["http://a", "http://b"]])
def test_what_says_no_address_is_refused(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        address(arguments, {"MILLRACE_OPS_PORT": "0"})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"status": "ready"}', "ready"),
        (
            b'{"status": "not ready", "reason": "no partitions were assigned yet"}',
            "not ready: no partitions were assigned yet",
        ),
        (b"<html>", "It answered 503."),
        (b"[]", "It answered 503."),
        (b"\xff", "It answered 503."),
    ],
)
def test_it_says_what_the_service_says(body: bytes, said: str) -> None:
    assert sentence(503, body) == said


class Service(QuietHandler):
    """Is ready at one path, and not at the others."""

    def do_GET(self) -> None:  # noqa: N802 - as http.server names it
        ready = self.path == "/readyz"
        self.answer(200 if ready else 503, "application/json", b'{"status": "it"}')


@pytest.mark.parametrize(("path", "ready"), [("/readyz", True), ("/healthz", False)])
def test_only_a_200_is_ready_whatever_is_said(path: str, ready: bool) -> None:
    with served(Service) as place:
        host, port = place.split(":")
        assert look(host, int(port), path) == (ready, "it")


def test_a_port_that_nobody_listens_on_is_said() -> None:
    ready, said = look("127.0.0.1", free_port(), "/readyz")
    assert not ready
    assert said.endswith("does not answer (Connection refused).")


def test_it_imports_nothing_heavy() -> None:
    """A health check runs every few seconds, in every container."""
    code = "import sys, millrace.health; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    output = subprocess.run(
        (sys.executable, "-c", code), check=True, capture_output=True, text=True, timeout=20
    ).stdout
    heavy = {
        "pydantic",
        "asyncio",
        "aiohttp",
        "httpx",
        "faust",
        "typer",
        "yaml",
        "prometheus_client",
        "opentelemetry",
    }
    assert heavy & set(output.split()) == set()
