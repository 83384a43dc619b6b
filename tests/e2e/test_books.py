"""The ledger's books after real work, proved by the command that an operator would use."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest
from tests.e2e.harness import Running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def command(running: Running, *words: str) -> subprocess.CompletedProcess[str]:
    places = {f"MILLRACE_{name.upper()}": running.addresses[name] for name in ("kafka", "registry", "postgres")}
    return subprocess.run(
        (sys.executable, "-m", "millrace.cli.main", "budget", *words),
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_books_agree_while_everything_works(running: Running, client: Client) -> None:
    share = client.add(ShareRequest(text="A mill is turned by a stream, and a gate says how much may flow. " * 4))
    client.wait(share.share_id, within_s=120)
    ended = command(running, "audit", "--json")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    report = json.loads(ended.stdout)
    assert (report["ok"], report["difference_count"]) == (True, 0)
    assert report["decisions"] >= report["decided_again"] > 0


def test_a_rebuild_is_refused_while_the_ledger_works(running: Running) -> None:
    ended = command(running, "rebuild")
    assert (ended.returncode, ended.stdout) == (78, "")
    assert "stop it first" in ended.stderr
