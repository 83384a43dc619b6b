"""The examples of docs/consuming.md and docs/ledger.md, run as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest
from millrace.models import prices
from millrace.testing.media import JFK_WAV
from services.cost_ledger import budgets
from tests.e2e.harness import Running
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
DOCS = Path(__file__).parents[2] / "docs"
CONSUMING, LEDGER = DOCS / "consuming.md", DOCS / "ledger.md"


def blocks(language: str, page: Path = CONSUMING) -> list[str]:
    """Fenced blocks of a page in one language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


@pytest.fixture(scope="module")
def shared(client: Client) -> str:
    """A share whose transcript and statuses are on the stream."""
    accepted = client.upload(JFK_WAV, ShareRequest(title="For readers"))
    assert client.wait(accepted.share_id, within_s=120).state == "done"
    return accepted.share_id


@pytest.fixture
def environment(running: Running) -> dict[str, str]:
    """What the first block of the page exports, from the ready file."""
    (exports, _) = blocks("")
    script = exports.replace("ready.json", str(running.ready_file)) + "\nenv"
    output = subprocess.run(["bash", "-ec", script], check=True, capture_output=True, text=True, timeout=30).stdout
    exported = dict(line.split("=", 1) for line in output.splitlines() if line.startswith(("KAFKA=", "REGISTRY=")))
    assert exported["KAFKA"] == running.addresses["kafka"]
    return {**os.environ, **exported}


@pytest.mark.usefixtures("shared")
def test_the_python_example_prints_transcripts(environment: dict[str, str], tmp_path: Path) -> None:
    (example,) = blocks("python")
    with subprocess.Popen(
        [sys.executable, "-c", example], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert any("ask not what your country" in line.lower() for line in process.stdout)
        finally:
            process.kill()


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed (Debian: apt-get install kcat)")
def test_the_kcat_examples_run_as_they_stand(environment: dict[str, str], shared: str) -> None:
    (_, commands) = blocks("")
    topics, statuses, avro = commands.splitlines()
    assert 'topic "share.created"' in shell(topics, environment)
    assert f"{shared}|transcribe" in shell(statuses, environment).split()
    features = subprocess.run(["kcat", "-V"], check=True, capture_output=True, text=True, timeout=30).stdout
    if "avro" in features.lower():
        assert shared in shell(avro, environment)


@pytest.mark.usefixtures("shared")
def test_the_ledgers_query_tells_what_was_spent(running: Running) -> None:
    (query,) = blocks("sql", LEDGER)
    recorded = "SELECT 1 FROM ledger_entries WHERE scope = 'transcribe' AND outcome = 'settled'"
    until(lambda: running.sql(recorded), "the journal to have the price of the speech")
    spent = {(row["start"], row["scope"]): int(str(row["settled_micro_usd"])) for row in running.sql(query)}
    totals = [amount for (_, scope), amount in spent.items() if scope == "total"]
    assert 0 < sum(totals) == sum(spent.values()) - sum(totals)


def test_the_budgets_of_the_ledgers_page_can_be_loaded(tmp_path: Path) -> None:
    example, _ = blocks("toml", LEDGER)
    file = tmp_path / "budgets.toml"
    file.write_text(example)
    caps = {(key.account, key.scope, key.window): cap.amount for key, cap in budgets.load(file).items()}
    assert caps["research", "total", "day"] == 50_000_000
    assert caps["default", "transcribe", "hour"] == 1_000_000


def shell(command: str, environment: dict[str, str]) -> str:
    """Output of a line that somebody pastes into a shell."""
    return subprocess.run(
        ["bash", "-ec", command], env=environment, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_the_prices_of_the_ledgers_page_can_be_loaded(tmp_path: Path) -> None:
    _, example = blocks("toml", LEDGER)
    file = tmp_path / "prices.toml"
    file.write_text(example)
    free, by_minute = prices.load(file)
    assert free.host == "127.0.0.1:11434"
    assert (free.tokens_in, free.tokens_out) == (Decimal(0), Decimal(0))
    assert str(by_minute.audio_minute) == "0.00185"
