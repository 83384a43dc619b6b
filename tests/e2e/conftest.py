"""The whole of Millrace, started by its own command, for all end-to-end tests of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from millrace.cli.client import Client
from tests.e2e.harness import Running, millrace_up
from tests.e2e.pages import serve_pages

PRICE_PER_SECOND = "0.0001"
"""US dollars a second, configured for the local speech model so that its work costs something."""
BUDGETS = """
[default.transcribe]
hour = "1.00"
day = "10.00"

[accounts.poor.transcribe]
hour = "0.0001"
day = "0.0005"

# Enough for the 8.8 s that somebody speaks and one more, and then for twice that only if the first had cost nothing.
[accounts.spent.transcribe]
hour = "0.001865"
day = "10.00"

# So that somebody has a cap of vectors.
[accounts.capped.embed]
day = "5.00"
"""


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a site that the media agent may fetch from though it is on loopback."""
    with serve_pages(tmp_path_factory.mktemp("pages")) as address:
        yield address


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, pages: str) -> Iterator[Running]:
    """Everything, with local models; speech has a price."""
    folder = tmp_path_factory.mktemp("millrace")
    budgets = folder / "budgets.toml"
    budgets.write_text(BUDGETS)
    environment = {
        "MILLRACE_TRANSCRIBE_PRICE_PER_SECOND": PRICE_PER_SECOND,
        "MILLRACE_BUDGETS": str(budgets),
        "MILLRACE_FETCH_ALLOW": pages,
        "MILLRACE_LEASE_S": "6",
        "MILLRACE_DEAD_SHARE": "1",  # tests make dead letters on purpose, and redrive those of others
        "OPENAI_API_KEY": "",
    }
    with millrace_up(folder, environment) as started:
        yield started


@pytest.fixture(scope="session")
def client(running: Running) -> Iterator[Client]:
    """A client of the running gateway."""
    with running.client() as made:
        yield made
