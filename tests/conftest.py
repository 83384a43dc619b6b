"""One embedded stack for the whole session, started when the first test asks for it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from millrace.embedded.readyfile import Addresses
from tests.support.stack import own_stack

# Machines are shared: how long an example takes says nothing about the code. pytest-timeout ends what hangs.
settings.register_profile("millrace", deadline=None)
settings.load_profile("millrace")

_OWN: Final = pytest.StashKey[Path]()


def _existing() -> Addresses | None:
    """A stack that the developer keeps running, named by MILLRACE_TEST_KAFKA, …_REGISTRY and …_POSTGRES."""
    values = [os.environ.get(f"MILLRACE_TEST_{name}", "") for name in ("KAFKA", "REGISTRY", "POSTGRES")]
    return Addresses(*values) if all(values) else None


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Interrupts reach whom they are meant for; temporary folders of this run alone.

    pytest's own lie in one that all runs of a user share, and each run closes that to others: PostgreSQL, which runs
    as another user under root, would not come back from a restart in the middle of somebody else's run.
    """
    # A shell without job control starts what it runs in the background with SIGINT ignored, and so would be every
    # program that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.basetemp is None:
        config.stash[_OWN] = Path(tempfile.mkdtemp(prefix="millrace-tests-"))
        config.option.basetemp = str(config.stash[_OWN] / "base")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Two processes share the tests, a file to one of them; what starts whole programs is with one alone.

    Tests wait more than they reckon, but services that are killed and paused have only so much time.
    """
    return _ProgramsInOnePlace(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test has logged can be told to the process that prints it, whatever is in it."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


class _ProgramsInOnePlace(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "programs" if file.startswith(("tests/chaos/", "tests/e2e/")) else file


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """What failed can be looked into; nobody looks into the rest."""
    own = session.config.stash.get(_OWN, None)
    if own is not None and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(own)


@pytest.fixture(scope="session")
def stack() -> Iterator[Addresses]:
    """Addresses of a real Kafka, schema registry and PostgreSQL; shared, so tests use names of their own."""
    existing = _existing()
    if existing is not None:
        yield existing
        return
    folder = Path(tempfile.mkdtemp(prefix="millrace-test-"))
    try:
        with own_stack(folder) as addresses:
            yield addresses
    finally:
        shutil.rmtree(folder)
