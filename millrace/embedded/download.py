"""Run a download as a child process and pass its progress on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from millrace.embedded.artifacts import Package
from millrace.embedded.errors import DownloadFailed
from millrace.embedded.process import launcher_argv
from millrace.embedded.supervise import Report


async def download(package: Package, report: Report) -> None:
    """Fetch a package into the cache (see fetch.py); cancelling ends the download.

    :raises DownloadFailed: with the download's own sentence.
    """
    process = await asyncio.create_subprocess_exec(
        *launcher_argv((sys.executable, "-m", "millrace.embedded.fetch", package.name)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    if process.stdout is None or process.stderr is None:
        raise RuntimeError("the download's output is not a pipe")
    errors = asyncio.create_task(process.stderr.read())
    try:
        async for line in process.stdout:
            report(line.decode(errors="replace").rstrip())
        said = (await errors).decode(errors="replace").strip()
        code = await process.wait()
    finally:
        errors.cancel()
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code != 0:
        raise DownloadFailed(said.splitlines()[-1] if said else f"{package.title} could not be downloaded.")
