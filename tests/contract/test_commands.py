"""`millrace topics` and `millrace schemas` as a person or a deployment runs them."""

from __future__ import annotations

import json
import socket

import pytest
from typer.testing import CliRunner, Result

from millrace.cli.exits import CONFIGURATION, UNAVAILABLE
from millrace.cli.main import app
from millrace.contracts.catalog import Catalog
from millrace.embedded.readyfile import Addresses

NOWHERE = {"MILLRACE_KAFKA": "", "MILLRACE_REGISTRY": "", "MILLRACE_REPLICATION": ""}


def _run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, arguments, env=NOWHERE | environment)


def test_topics_are_applied_and_then_listed_as_ok(stack: Addresses) -> None:
    assert _run("topics", "apply", MILLRACE_KAFKA=stack.kafka).exit_code == 0
    again = _run("topics", "apply", "--json", MILLRACE_KAFKA=stack.kafka)
    assert json.loads(again.stdout) == {"topics": len(Catalog.load().topics), "done": []}
    listed = json.loads(_run("topics", "list", "--json", "--kafka", stack.kafka).stdout)
    assert {topic["name"]: topic["state"] for topic in listed} == dict.fromkeys(Catalog.load().topics, "ok")


def test_schemas_are_registered_and_then_found_sound(stack: Addresses) -> None:
    assert _run("schemas", "register", MILLRACE_REGISTRY=stack.registry).exit_code == 0
    again = _run("schemas", "register", "--json", MILLRACE_REGISTRY=stack.registry)
    assert json.loads(again.stdout)["done"] == []
    checked = _run("schemas", "check", "--json", "--registry", stack.registry)
    assert (checked.exit_code, json.loads(checked.stdout)["problems"]) == (0, [])


@pytest.mark.parametrize("command", [("topics", "apply"), ("schemas", "register")])
def test_a_missing_address_is_a_mistake_of_configuration(command: tuple[str, str]) -> None:
    result = _run(*command)
    assert result.exit_code == CONFIGURATION
    assert result.stderr.startswith("millrace: Say where")
    assert result.stderr.count("\n") == 1


def test_a_registry_that_is_away_is_one_sentence_without_its_password() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    result = _run("schemas", "register", "--registry", f"http://me:hush@{address}/x")
    assert result.exit_code == UNAVAILABLE
    assert result.stderr == f"millrace: The schema registry at http://{address}/x does not answer (ConnectError).\n"


def test_topics_are_listed_without_any_cluster() -> None:
    result = _run("topics", "list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(Catalog.load().topics)
