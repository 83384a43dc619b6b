"""A long recording is cancelled while the model listens to it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest
from millrace.testing.media import JFK_WAV
from tests.e2e.harness import Running, stage
from tests.e2e.media import repeated_speech
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def children_of(running: Running) -> set[int]:
    """Process ids of the transcribe agent's models."""
    return {child.pid for child in psutil.Process(running.part("transcribe_agent").pid).children()}


def test_a_recording_is_cancelled_while_it_is_listened_to_and_the_next_one_is_transcribed(
    running: Running, client: Client, tmp_path: Path
) -> None:
    share_id = client.upload(repeated_speech(tmp_path, times=120), ShareRequest()).share_id
    until(lambda: (client.share(share_id).stages[1].progress or 0) > 0.1, "the model to have heard something", 120)
    before = children_of(running)
    answer = client.cancel(share_id)
    assert [found.outcome for found in answer.stages] == ["over", "stopping", "cancelled", "cancelled"]
    view = client.wait(share_id, within_s=10)
    assert view.state == "cancelled"
    assert len(children_of(running) & before) == len(before) - 1, "the child that listened is gone"
    *kept, last = [receipt for receipt in view.receipts if receipt.stage == "transcribe"]
    assert {receipt.state for receipt in kept} == {"settled"}, "what was heard before"
    assert (last.state, last.reason) == ("released", "cut off")

    other = client.upload(JFK_WAV, ShareRequest(title="another")).share_id
    assert stage(client.wait(other, within_s=120), "transcribe") == "done"
    assert client.share(share_id).state == "cancelled", "nothing of it has begun meanwhile"
