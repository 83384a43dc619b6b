"""A reader of examples/consumers beside the whole of Millrace: it keeps what comes of a share until its deletion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from examples.consumers.keeping import TOPICS
from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest
from millrace.testing.media import JFK_WAV
from tests.e2e.harness import Running
from tests.support.process import ROOT
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def read(running: Running, folder: Path, group: str) -> None:
    """Run the reader with confluent-kafka until the topics end."""
    places = {f"MILLRACE_{name.upper()}": running.addresses[name] for name in ("kafka", "registry")}
    program = (sys.executable, "-m", "examples.consumers.python_confluent", str(folder), "--end")
    environment = os.environ | places | {"GROUP": group}
    subprocess.run(program, check=True, env=environment, cwd=ROOT, capture_output=True, timeout=60)


def test_a_reader_keeps_what_came_of_a_share_until_it_is_deleted(
    running: Running, client: Client, tmp_path: Path
) -> None:
    group = f"reader-{uuid.uuid4().hex}"
    share = client.upload(JFK_WAV, ShareRequest(title="For a reader")).share_id
    assert client.wait(share, within_s=120).state == "done"

    read(running, tmp_path, group)
    kept = {topic: json.loads((tmp_path / topic / f"{share}.json").read_text()) for topic in TOPICS}
    assert {found["event"]["share_id"] for found in kept.values()} == {share}
    assert "ask not what your country" in kept["transcript.ready"]["event"]["text"].lower()
    assert kept["embedding.ready"]["event"]["chunk_count"] > 0

    client.delete(share)

    def gone() -> bool:
        read(running, tmp_path, group)
        return not list(tmp_path.rglob(f"{share}.json"))

    until(gone, "the tombstones of all topics", 60)
