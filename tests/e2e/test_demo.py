"""The demonstration as a process of its own, with nobody at the terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.cli.demo import QUESTION, DemoReport
from tests.e2e.harness import millrace_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
WORDS = "ask not what your country can do for you"
LOCAL = {"OPENAI_API_KEY": ""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests of this module are one story on one data folder, in their order."""
    return tmp_path_factory.mktemp("demo")


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "millrace.cli.main", "demo", "--data", str(folder / "data"), *options]
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **LOCAL},
        timeout=180,
        check=False,
    )


def test_the_demo_shows_the_whole_way_and_ends(folder: Path) -> None:
    ended = demo(folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    shown = ended.stdout
    assert re.search(rf"^0:\d\d\.\d - 0:\d\d\.\d  .*{WORDS}", shown, re.MULTILINE), shown
    assert "Summary (lexrank" in shown
    assert re.search(rf"^Search: {QUESTION}\n0:\d\d\.\d  .*{WORDS}", shown, re.MULTILINE), shown
    for line in (
        "media .* no model called",
        *(rf"{name} .* settled" for name in ("transcribe", "summarize", "embed")),
    ):
        assert re.search(f"^{line}", shown, re.MULTILINE), line
    assert "Everything ran on this machine and nothing was paid." in shown
    assert "granted each of the 5 model calls before it was made" in shown
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_a_second_start_on_the_folder_finds_the_first_share(folder: Path) -> None:
    with millrace_up(folder, LOCAL) as running, running.client() as client:
        found = client.search(QUESTION, mode="semantic")
        assert found.mode == "semantic"
        assert WORDS in found.hits[0].text.lower()
        view = client.share(found.hits[0].share_id)
        assert view.transcript is not None
        assert WORDS in view.transcript.text.lower()


def test_a_second_demo_reuses_the_work_and_prints_json_alone(folder: Path) -> None:
    ended = demo(folder, "--json")
    assert ended.returncode == 0, ended.stderr
    outcome = DemoReport.model_validate(json.loads(ended.stdout))
    assert [view.state for view in outcome.shares] == ["done", "done"]
    assert all(receipt.reused for view in outcome.shares for receipt in view.receipts)
    assert len({hit.share_id for hit in outcome.search.hits if hit.start_ms is not None}) == 2
    assert "is ready" in ended.stderr
