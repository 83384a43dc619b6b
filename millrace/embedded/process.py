"""A child process: started so that it dies with us, its output in a log file, stopped in bounded time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from millrace.embedded.account import Account

_LAUNCHER = Path(__file__).with_name("launch.py")
_ROTATE_ABOVE_BYTES = 20 * 1024 * 1024
_TAIL_BYTES = 16 * 1024


@dataclass(frozen=True)
class Command:
    """What to run and how it ends.

    `death_signal` is sent when this process dies, `stop_signal` asks it to end; after `stop_within_s` seconds its
    whole process group is killed. `inherit` are descriptors it keeps. The environment is complete, not added to ours.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    cwd: Path | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    stop_within_s: float = 15.0
    inherit: tuple[int, ...] = ()
    niceness: int = 0


def launcher_argv(
    program: Sequence[str],
    *,
    account: Account | None = None,
    death_signal: int = signal.SIGKILL,
    niceness: int = 0,
    watch: int | None = None,
) -> list[str]:
    """The command line of the launcher that becomes the program; it holds no environment, so no secret.

    :param watch: read end of a pipe to the parent. Without it, and elsewhere than on Linux, the program is not
        bound to its parent's life: enough for tools that end by themselves.
    """
    argv = [sys.executable, "-I", "-S", str(_LAUNCHER), "--parent", str(os.getpid())]
    argv += ["--death-signal", str(int(death_signal))]
    if watch is not None:
        argv += ["--watch-fd", str(watch)]
    if niceness:
        argv += ["--nice", str(niceness)]
    if account is not None:
        argv += ["--uid", str(account.uid), "--gid", str(account.gid)]
    return [*argv, "--", *program]


def last_lines(path: Path, count: int = 15) -> tuple[str, ...]:
    """The end of a log file, oldest line first; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    return tuple(line for line in text.splitlines() if line.strip())[-count:]


def _open_log(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if path.stat().st_size > _ROTATE_ABOVE_BYTES:
            path.replace(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


class Child:
    """A running (or ended) process. Start it from the thread that lives as long as it should."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process, watch: int | None) -> None:
        self.command = command
        self._process = process
        self._watch = watch

    @classmethod
    async def start(cls, command: Command, *, kernel_watches: bool = sys.platform == "linux") -> Child:
        """Start the program in a session of its own, so that a terminal's Ctrl-C reaches us only.

        :param kernel_watches: False uses the pipe that other systems than Linux need.
        :raises OSError: Python itself cannot be started.
        """
        log = _open_log(command.log)
        reader, writer = (None, None) if kernel_watches else os.pipe()
        kept = command.inherit if reader is None else (*command.inherit, reader)
        try:
            process = await asyncio.create_subprocess_exec(
                *launcher_argv(
                    command.argv,
                    account=command.account,
                    death_signal=command.death_signal,
                    niceness=command.niceness,
                    watch=reader,
                ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(command.environment),
                cwd=command.cwd,
                start_new_session=True,
                pass_fds=kept,
            )
        finally:
            os.close(log)
            if reader is not None:
                os.close(reader)
        return cls(command, process, writer)

    @property
    def pid(self) -> int:
        """The process id of the program itself."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end and return the exit code."""
        code = await self._process.wait()
        if self._watch is not None:
            with suppress(BrokenPipeError):
                os.write(self._watch, b".")
            os.close(self._watch)
            self._watch = None
        return code

    async def stop(self) -> int:
        """Ask it to end, kill it when it takes too long, and return the exit code."""
        self._signal(self.command.stop_signal)
        try:
            async with asyncio.timeout(self.command.stop_within_s):
                return await self.wait()
        except TimeoutError:
            self.kill()
            return await self.wait()

    def kill(self) -> None:
        """Kill it with every process of its group."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
