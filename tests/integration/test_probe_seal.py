"""The fence of the probing child, tried from within by code that means harm."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

import millrace
from millrace.fetch.child.landlock import NET_SINCE
from millrace.sealed import run_sealed
from millrace.telemetry import fetching
from millrace.telemetry.fetching import fetch_figures
from millrace.testing.media import JFK_WAV
from services.media_agent.adapters.probe import AvProber
from tests.support.listener import listening

pytestmark = pytest.mark.timeout(60)
CHILD = Path(millrace.__file__).parents[1] / "services" / "media_agent" / "adapters" / "probe_child.py"

# The child itself; in the place of PyAV's demuxers, code that has taken one over.
TAKEN_OVER = """
import os, runpy, socket, sys
from pathlib import Path
import av

def connect():
    with socket.create_connection(("127.0.0.1", {port}), 2):
        pass

acts = {{
    "parent": lambda: Path("/proc/{parent}/environ").read_bytes(),
    "secret": lambda: Path({secret!r}).read_text(),
    "write": lambda: Path({beside!r}).write_text("x"),
    "overwrite": lambda: open({media!r}, "r+b").close(),
    "connect": connect,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "media": lambda: Path({media!r}).read_bytes(),
}}

def opened(*_, **__):
    done = []
    for name, act in acts.items():
        try:
            act()
            done.append(name)
        except OSError:
            pass
    sys.stderr.write(" ".join(done))
    raise ValueError

av.open = opened
sys.argv = ["probe_child.py", {media!r}, "wav", "20"]
runpy.run_path({child!r}, run_name="__main__")
"""


async def kernel_here() -> int:
    """The version of Landlock that this machine has, by a process that does nothing else."""
    program = "from millrace.fetch.child.landlock import restrict; print(restrict(readable=()))"
    argv = (sys.executable, "-c", f"import sys; sys.path.insert(0, {str(CHILD.parents[3])!r}); {program}")
    return int((await run_sealed(argv, timeout_s=20)).output)


async def test_a_demuxer_that_was_taken_over_reads_its_file_and_nothing_else(tmp_path: Path) -> None:
    media, secret = tmp_path / "media.wav", tmp_path / "secret"
    media.write_bytes(JFK_WAV.read_bytes())
    secret.write_text("of somebody else")
    if await kernel_here() < NET_SINCE:
        pytest.skip("this kernel has no Landlock, or one that knows files only")
    async with listening() as inside:
        program = TAKEN_OVER.format(
            parent=os.getpid(),
            secret=str(secret),
            beside=str(tmp_path / "new"),
            media=str(media),
            port=inside.port,
            child=str(CHILD),
        )
        ended = await run_sealed((sys.executable, "-I", "-c", program), timeout_s=20)
        assert inside.came == []
    assert (ended.status, ended.errors) == (3, b"media")


async def test_the_fence_is_shown_and_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_noted", {})
    caplog.set_level(logging.INFO)
    for _ in range(2):
        assert (await AvProber(timeout_s=20).probe(JFK_WAV)).audio_codec == "pcm_s16le"
    assert fetch_figures()["ml_fetch_kernel_seal{child=probe}"] == await kernel_here()
    assert caplog.text.count("Landlock") + caplog.text.count("no kernel fence") == 1
