"""Starting an agent where something is missing: one clear sentence, a status that means something, nothing read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.process import begin, free_port, is_ready
from tests.support.stack import own_stack
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)
AGENT = [sys.executable, "-m", "services.media_agent"]
FAUST = [sys.executable, "-m", "faust", "-A", "services.media_agent.worker", "worker", "-l", "info"]
MILLRACE = [sys.executable, "-m", "millrace.cli.main"]
UNAVAILABLE, CONFIGURATION = 69, 78


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of a stack that nothing was provisioned on."""
    folder = tmp_path_factory.mktemp("bare")
    with own_stack(folder) as found:
        yield {
            **os.environ,
            "MILLRACE_KAFKA": found.kafka,
            "MILLRACE_REGISTRY": found.registry,
            "MILLRACE_POSTGRES": found.postgres,
            "MILLRACE_BLOBS": str(folder / "blobs"),
            "MILLRACE_START_TIMEOUT_S": "1",
        }


def fails(argv: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Exit status and what was said, of a command that must end by itself."""
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done.returncode, done.stderr


def works(*arguments: str, environment: dict[str, str]) -> None:
    subprocess.run([*MILLRACE, *arguments], env=environment, check=True, capture_output=True, timeout=60)


@contextmanager
def running(argv: list[str], environment: dict[str, str], log: Path) -> Iterator[str]:
    """Base URL of the ops endpoints of an agent that became ready; it must stop at SIGTERM with status 0."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = begin(argv, log, {**environment, "MILLRACE_OPS_PORT": str(port)})

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        return is_ready(url)

    try:
        until(ready, f"the agent to be ready: see {log}")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, log.read_text()[-2000:]


def test_what_is_missing_is_named_one_after_another_until_the_agent_runs(
    bare: dict[str, str], tmp_path: Path
) -> None:
    status, said = fails(AGENT, bare)
    assert status == CONFIGURATION
    assert "media.requested" in said
    assert "millrace topics apply" in said

    works("topics", "apply", environment=bare)
    status, said = fails(AGENT, bare)
    assert status == CONFIGURATION
    assert "millrace schemas register" in said

    works("schemas", "register", environment=bare)
    status, said = fails(AGENT, bare)
    assert status == CONFIGURATION
    assert "millrace database migrate" in said

    works("database", "migrate", environment=bare)
    with running(AGENT, bare, tmp_path / "agent.log") as url:
        assert "ml_active_tasks" in httpx.get(f"{url}/metrics", trust_env=False).text
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200

    with running(FAUST, bare, tmp_path / "faust.log"):
        pass


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("MILLRACE_REGISTRY", "http://127.0.0.1:1/apis/ccompat/v7", "registry"),
        ("MILLRACE_KAFKA", "127.0.0.1:1", "Kafka"),
        ("MILLRACE_POSTGRES", "postgresql://u:canary-secret@127.0.0.1:1/db", "PostgreSQL"),
    ],
)
def test_a_part_that_is_down_is_waited_for_and_then_named(
    bare: dict[str, str], variable: str, value: str, name: str
) -> None:
    works("topics", "apply", environment=bare)
    works("schemas", "register", environment=bare)
    status, said = fails(AGENT, {**bare, variable: value})
    assert status == UNAVAILABLE
    assert name in said
    assert "canary-secret" not in said


def test_missing_settings_are_named(bare: dict[str, str]) -> None:
    environment = {name: value for name, value in bare.items() if name != "MILLRACE_KAFKA"}
    status, said = fails(AGENT, environment)
    assert status == CONFIGURATION
    assert "MILLRACE_KAFKA" in said
