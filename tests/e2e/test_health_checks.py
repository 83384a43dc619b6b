"""The health checks of compose.kafka.yml, word for word, against real processes: red while one hangs, green after.

Containers are not run here. Their commands are: on this machine, in the environment that the process has, with the
real port where the file names the container's.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil
import pytest

from millrace.embedded.postgres import find_postgres
from tests.e2e.harness import Part, Running, millrace_up
from tests.support.compose_file import ROOT, health_command, services
from tests.support.process import begin, free_port
from tests.support.tools import tool
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

AGENTS: Final = ("media-agent", "transcribe-agent", "summarize-agent", "embed-agent", "cost-ledger")
SERVICES: Final = (*AGENTS, "api-gateway")
PARTS: Final = {"kafka-1": "kafka", "registry": "registry", "postgres": "postgres"}
WITHIN_S: Final = 10.0
"""What the file gives each command."""


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    status: int
    text: str
    took_s: float


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stack of its own: it is hurt here."""
    with millrace_up(tmp_path_factory.mktemp("health"), {"OPENAI_API_KEY": ""}) as started:
        yield started


def program(up: Running, service: str) -> tuple[list[str], dict[str, str]]:
    """A service's health check as it is run here, and what it is told by its environment."""
    words = health_command(service)
    for mount in services()[service].get("volumes", []):
        inside, outside = mount.split(":")[1], mount.split(":")[0]
        words = [
            str(ROOT / outside / word.removeprefix(f"{inside}/")) if word.startswith(f"{inside}/") else word
            for word in words
        ]
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    if service in PARTS:
        address = {"kafka-1": f"//{up.addresses['kafka']}"}.get(service) or up.addresses[service]
        port = str(urlsplit(address).port)
        environment |= {"PGPORT": port, "PATH": f"{find_postgres()}:{environment['PATH']}"}
        return [port if word in {"29092", "8080"} else word for word in words], environment
    if service == "api-gateway":
        return words, environment | {"MILLRACE_HTTP_PORT": str(urlsplit(up.addresses["gateway"]).port)}
    return words, environment | {"MILLRACE_OPS_PORT": str(urlsplit(part(up, service).ops).port)}


def part(up: Running, service: str) -> Part:
    """The process behind a service of the file."""
    return up.part(PARTS.get(service) or service.replace("-", "_"))


def checked(words: list[str], environment: dict[str, str]) -> Said:
    """Run a health check as Docker does, which kills one that takes too long."""
    began = time.monotonic()
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    return Said(done.returncode, (done.stdout + done.stderr).strip(), time.monotonic() - began)


def check(up: Running, service: str) -> Said:
    """Run a service's health check."""
    return checked(*program(up, service))


@contextmanager
def hanging(up: Running, *names: str) -> Iterator[None]:
    """They stand still with their children: their ports are open, and nobody answers."""
    processes = [psutil.Process(part(up, name).pid) for name in names]
    stopped = [one for process in processes for one in (process, *process.children(recursive=True))]
    for one in stopped:
        one.suspend()
    try:
        yield
    finally:
        for one in stopped:
            one.resume()


def says(up: Running, service: str, what: Callable[[Said], bool], within_s: float = 30) -> Said:
    """Wait until a check says something."""
    said = [check(up, service)]

    def again() -> bool:
        said.append(check(up, service))
        return what(said[-1])

    until(again, f"the check of {service}, which says {said[-1]}", within_s)
    return said[-1]


def green(up: Running, service: str) -> Said:
    """Wait until a check passes."""
    return says(up, service, lambda said: said.status == 0, 90)


def test_services_that_hang_turn_their_checks_red_and_when_they_go_on_green(up: Running) -> None:
    for service in SERVICES:
        green(up, service)
    with hanging(up, *SERVICES), ThreadPoolExecutor(len(SERVICES)) as at_once:
        said = list(at_once.map(lambda service: check(up, service), SERVICES))
    assert {one.status for one in said} == {1}
    assert {re.sub(r":\d+", "", one.text) for one in said} == {"127.0.0.1 does not answer within 8 s."}
    for service in SERVICES:
        green(up, service)


@pytest.mark.parametrize("service", PARTS)
def test_a_part_that_hangs_turns_its_check_red_and_one_that_goes_on_green(up: Running, service: str) -> None:
    green(up, service)
    with hanging(up, service):
        said = check(up, service)
        assert said.status != 0
        assert "within" in said.text or service == "postgres"  # pg_isready is told to be quiet
    green(up, service)


@pytest.mark.parametrize("service", AGENTS)
def test_a_service_that_is_ready_says_so_quickly(up: Running, service: str) -> None:
    green(up, service)
    said = [check(up, service) for _ in range(5)]
    assert {one.text for one in said} == {"ready"}
    assert min(one.took_s for one in said) < 0.5  # 0.06 on a quiet machine


def test_a_service_that_was_killed_turns_its_check_red_until_it_is_back(up: Running) -> None:
    green(up, "api-gateway")
    up.kill("api_gateway")
    said = check(up, "api-gateway")
    assert said.status == 1
    assert "does not answer" in said.text
    green(up, "api-gateway")


def test_a_gateway_without_its_database_is_not_healthy(up: Running) -> None:
    with hanging(up, "postgres"):
        said = says(up, "api-gateway", lambda said: said.status != 0)
        assert said.text == "not ready: The database does not answer."
    green(up, "api-gateway")


def test_a_gateway_without_kafka_stays_healthy_and_says_what_is_away(up: Running) -> None:
    """As its readiness does: shares are taken and kept."""
    with hanging(up, "kafka-1"):
        assert says(up, "api-gateway", lambda said: "degraded" in said.text).status == 0
    says(up, "api-gateway", lambda said: said.text == "ready")


def test_another_server_at_the_port_is_no_broker(up: Running) -> None:
    words, environment = program(up, "kafka-1")
    said = checked([*words[:-1], str(urlsplit(up.addresses["postgres"]).port)], environment)
    assert said.status == 1


def test_a_registry_that_does_not_know_the_path_is_not_healthy(up: Running) -> None:
    words, environment = program(up, "registry")
    said = checked([*words[:-1], "/apis/nothing"], environment)
    assert (said.status, "404" in said.text) == (1, True)


def test_the_s3_server_turns_its_check_red_when_it_hangs(tmp_path: Path) -> None:
    binary = tool("versitygw")
    if shutil.which("wget") is None:
        pytest.skip("wget is not installed; the image has it")
    service, port = services()["s3"], str(free_port())
    for name in ("objects", "metadata"):
        (tmp_path / name).mkdir()
    words = [
        word.replace(":7070", f"127.0.0.1:{port}").replace("/data/", f"{tmp_path}/") for word in service["command"]
    ]
    keys = {"ROOT_ACCESS_KEY_ID": "test-access-key", "ROOT_SECRET_ACCESS_KEY": "test-secret-key"}
    process = begin((str(binary), *words), tmp_path / "log", keys)
    command = [word.replace("7070", port) for word in health_command("s3")]
    environment = {**os.environ, "no_proxy": "127.0.0.1"}
    try:
        until(lambda: checked(command, environment).status == 0, "the S3 server to be healthy", 30)
        process.send_signal(signal.SIGSTOP)
        assert checked([*command[:1], "-t", "1", *command[1:]], environment).status != 0
        process.send_signal(signal.SIGCONT)
        until(lambda: checked(command, environment).status == 0, "the S3 server to be healthy again", 30)
    finally:
        process.kill()
        process.wait(10)
