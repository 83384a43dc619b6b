"""Workers for APIs and workers for local models, as processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from millrace.contracts.share_api import ShareRequest
from millrace.embedded.process import launcher_argv
from millrace.testing.media import JFK_WAV
from tests.e2e.harness import Running, millrace_up, stage
from tests.support.kafka import ends
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
TOPIC = "transcribe.requested.local"


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Everything, with agents that run no local model."""
    environment = {"MILLRACE_WORKS_ON": "api", "OPENAI_API_KEY": ""}
    with millrace_up(tmp_path_factory.mktemp("apart"), environment) as running:
        yield running


@contextmanager
def local_worker(running: Running, stage_name: str) -> Iterator[int]:
    """Another worker of a stage, for local models; its process id."""
    environment = psutil.Process(running.part(f"{stage_name}_agent").pid).environ()
    environment |= {"MILLRACE_WORKS_ON": "local", "MILLRACE_OPS_PORT": "0", "MILLRACE_INSTANCE": "local"}
    program = launcher_argv((sys.executable, "-m", f"services.{stage_name}_agent"), death_signal=signal.SIGTERM)
    process = subprocess.Popen(program, env=environment)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def handed_over(running: Running) -> int:
    """How many commands are on the local topic."""
    return sum(ends(running.addresses["kafka"], TOPIC))


def test_what_needs_a_local_model_waits_for_a_worker_that_has_it(apart: Running) -> None:
    agent = psutil.Process(apart.part("transcribe_agent").pid)
    assert agent.children() == [], "an agent for APIs loads no model"
    with apart.client() as client:
        share_id = client.upload(JFK_WAV, ShareRequest()).share_id
        until(lambda: handed_over(apart) == 1, "the job to be handed over", 60)
        assert stage(client.share(share_id), "transcribe") == "queued"
        with local_worker(apart, "transcribe"):
            until(lambda: stage(client.share(share_id), "transcribe") == "done", "it to be transcribed", 120)
        transcript = client.share(share_id).transcript
    assert transcript is not None
    assert "country" in transcript.text
    assert agent.children() == []
    assert handed_over(apart) == 1
