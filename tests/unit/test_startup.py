"""An agent is closed to other processes of its user: seen from a child without root's capabilities."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

import pytest
from pydantic import TypeAdapter, ValidationError

from millrace.settings import LogLevel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a flag of Linux")

READ = 'subprocess.run(["cat", f"/proc/{os.getpid()}/environ"], capture_output=True, text=True).stdout'
ASKED = f"import os, subprocess\nread = {READ}\nprint('canary' in read)"
CLOSED = "from millrace.startup import close_to_others\nclose_to_others()\n"
WORKER = """
import asyncio
from contextlib import nullcontext
from millrace.stream.worker import StageWorker

async def opened(self):
    exec({asked!r})
    raise SystemExit(0)

worker = StageWorker.__new__(StageWorker)
StageWorker._open, StageWorker._tracing = opened, lambda self: nullcontext()
StageWorker.loop = asyncio.new_event_loop()
worker.execute_from_commandline()
"""
# What a process is that starts wrongly, as far as it comes: both end at once, for want of settings.
GATEWAY = """
import services.api_gateway.__main__ as program

def settings(kind):
    exec({asked!r})
    raise SystemExit(0)

program.load_settings = settings
program.main()
"""


def without_capabilities() -> Sequence[str]:
    """Root reads everything; a process without root's capabilities is as any other user's."""
    if os.getuid() != 0:
        return ()
    program = shutil.which("setpriv")
    if program is None:
        pytest.skip("root reads everything, and there is no setpriv")
    return (program, "--bounding-set=-all", "--inh-caps=-all")


def read_by_a_child(program: str) -> str:
    ran = subprocess.run(
        [*without_capabilities(), sys.executable, "-c", program],
        env={**os.environ, "MILLRACE_LLM_API_KEY": "canary"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return ran.stdout.strip()


def test_a_child_does_not_read_its_parents_keys_once_it_is_closed() -> None:
    assert read_by_a_child(ASKED) == "True", "the test itself can see"
    assert read_by_a_child(CLOSED + ASKED) == "False"


@pytest.mark.parametrize("program", [WORKER, GATEWAY], ids=["agents", "gateway"])
def test_services_close_themselves_when_they_start(program: str) -> None:
    assert read_by_a_child(program.format(asked=ASKED)) == "False"


def test_a_program_that_is_started_by_a_closed_one_is_as_any_other() -> None:
    child = "from pathlib import Path; Path('/proc/self/oom_score_adj').write_text('800'); print('written')"
    started = f"import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', {child!r}]).returncode)"
    assert read_by_a_child(CLOSED + started).split() == ["written", "0"]


@pytest.mark.parametrize("level", ["info", "INFO", "Info"])
def test_a_log_level_is_known_however_it_is_written(level: str) -> None:
    assert TypeAdapter(LogLevel).validate_python(level) == "INFO"


@pytest.mark.parametrize("level", ["warn", "", "9", "all"])
def test_another_is_refused_at_the_start(level: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(LogLevel).validate_python(level)
