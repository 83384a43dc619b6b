"""The speech model's child process, and its agent, are killed in the middle of a recording."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest
from tests.e2e.harness import Running, busy, stage
from tests.e2e.media import repeated_speech
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.chaos, pytest.mark.timeout(300)]


def models_of(running: Running) -> list[psutil.Process]:
    """The transcribe agent's children."""
    return psutil.Process(running.part("transcribe_agent").pid).children()


def heard_something(client: Client, share_id: str) -> bool:
    return (client.share(share_id).stages[1].progress or 0) > 0.12


def test_a_model_that_is_killed_costs_its_job_one_try_and_the_agent_nothing(
    running: Running, client: Client, tmp_path: Path
) -> None:
    agent = running.part("transcribe_agent").pid
    share_id = client.upload(repeated_speech(tmp_path, times=40), ShareRequest(title="killed model")).share_id
    until(lambda: heard_something(client, share_id), "the model to have heard something", 120)
    os.kill(busy(models_of(running)).pid, signal.SIGKILL)
    until(lambda: stage(client.share(share_id), "transcribe") == "waiting", "the try to have failed", 20)
    assert "was killed (signal 9)" in (client.share(share_id).stages[1].reason or "")
    view = client.wait(share_id, within_s=200)
    assert stage(view, "transcribe") == "done"
    calls = [receipt.state for receipt in view.receipts if receipt.stage == "transcribe"]
    assert calls[0] == "settled", "the first chunk is not heard again"
    assert sorted(set(calls[1:])) == ["released", "settled"]
    assert calls.count("released") == 1, "the one that was in work is"
    assert running.part("transcribe_agent").pid == agent


def test_an_agent_that_is_killed_leaves_no_model_behind_and_its_job_is_done(
    running: Running, client: Client, tmp_path: Path
) -> None:
    share_id = client.upload(repeated_speech(tmp_path, times=41), ShareRequest(title="killed agent")).share_id
    until(lambda: heard_something(client, share_id), "the model to have heard something", 120)
    models = models_of(running)
    pid = running.kill("transcribe_agent")
    until(lambda: not any(model.is_running() for model in models), "its children to be gone", 5)
    running.wait_restarted("transcribe_agent", pid)
    assert stage(client.wait(share_id, within_s=200), "transcribe") == "done"
