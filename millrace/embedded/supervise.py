"""Keep a child process running: wait until it is ready, start it again with growing delay when it ends by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress

from millrace.embedded.errors import StartFailed
from millrace.embedded.process import Child, Command, last_lines

Report = Callable[[str], None]
"""Takes one line for a person."""

Probe = Callable[[], Awaitable[bool]]
"""Whether the part answers now; it returns False rather than raise while the part is starting."""

_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 30.0
_STEADY_AFTER_S = 60.0
_PROBE_EVERY_S = 0.1
_LONGEST_LINE = 300


def restart_delay_s(crashes: int) -> float:
    """Seconds to wait before the start that follows the `crashes`-th crash in a row (1 is the first)."""
    return float(min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2 ** min(crashes - 1, 10)))


def crashes_in_a_row(before: int, *, ran_s: float) -> int:
    """The count after one more crash; a process that ran for a minute has proven itself and starts at one."""
    return 1 if ran_s >= _STEADY_AFTER_S else before + 1


class Supervised:
    """One part or service under supervision.

    `restarted` is called after every start that was not asked for: the process id is another one then.
    Start and stop it from the same event loop, in a thread that outlives it (see launch.py).
    """

    def __init__(
        self,
        command: Command,
        probe: Probe,
        *,
        ready_within_s: float,
        report: Report,
        restarted: Callable[[], None] = lambda: None,
    ) -> None:
        self.command = command
        self._probe = probe
        self._ready_within_s = ready_within_s
        self._report = report
        self._restarted = restarted
        self._child: Child | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """As it appears in reports and log names."""
        return self.command.name

    @property
    def pid(self) -> int | None:
        """The process id now; None between a crash and the next start."""
        return self._child.pid if self._child is not None and self._child.exit_code is None else None

    async def start(self) -> None:
        """Start it, wait until it is ready, and keep it running from then on.

        :raises StartFailed: it ended or did not become ready in time; nothing is left running.
        """
        child = await Child.start(self.command)
        self._child = child
        try:
            await self._until_ready(child)
        except BaseException:
            child.kill()
            await child.wait()
            raise
        self._keeper = asyncio.create_task(self._keep(child), name=f"keep {self.name}")

    async def stop(self) -> None:
        """End it for good; harmless when it never started."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        if self._child is not None:
            await self._child.stop()

    async def _until_ready(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._ready_within_s
        while not await self._probe():
            if child.exit_code is not None:
                raise self._failure(f"{self.name} ended with {describe_exit(child.exit_code)} before it was ready")
            if loop.time() > deadline:
                raise self._failure(f"{self.name} was not ready within {self._ready_within_s:.0f} s")
            await asyncio.sleep(_PROBE_EVERY_S)

    def _failure(self, what: str) -> StartFailed:
        log = self.command.log
        return StartFailed(f"{what}: see {log}.", last_lines(log))

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        crashes = 0
        while True:
            since = loop.time()
            code = await child.wait()
            crashes = crashes_in_a_row(crashes, ran_s=loop.time() - since)
            delay = restart_delay_s(crashes)
            self._report(f"{self.name} ended with {describe_exit(code)}; starting it again in {delay:.1f} s")
            await asyncio.sleep(delay)
            child = await self._start_again()
            try:
                await self._until_ready(child)
            except StartFailed as exc:
                self._report(f"{exc}{_said(exc.log_tail)}")
                child.kill()  # one that hangs is started anew like one that ended
            else:
                self._report(f"{self.name} is ready again")

    async def _start_again(self) -> Child:
        """Start until there is a process: a full disk or too many processes must not end the supervision unseen."""
        failures = 0
        while True:
            try:
                child = await Child.start(self.command)
                break
            except OSError as exc:
                failures += 1
                delay = restart_delay_s(failures)
                self._report(f"{self.name} cannot be started ({exc.strerror or exc}); trying again in {delay:.1f} s")
                await asyncio.sleep(delay)
        self._child = child
        try:
            self._restarted()
        except OSError as exc:
            self._report(f"the ready file still has the former process of {self.name} ({exc.strerror or exc})")
        return child


@contextmanager
def log_shown(report: Report) -> Iterator[None]:
    """Report the last lines of a part's log when it does not start; the error goes on."""
    try:
        yield
    except StartFailed as exc:
        for line in exc.log_tail:
            report(f"  | {line}")
        raise


def _said(log_tail: Sequence[str]) -> str:
    """The last words of a part that did not start, which mostly are why."""
    return f" Its last line: {log_tail[-1][:_LONGEST_LINE]}" if log_tail else ""


def describe_exit(code: int) -> str:
    """An exit code as a person would say it."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


async def all_or_none(work: Sequence[Coroutine[None, None, None]]) -> None:
    """Run all at once; at the first failure cancel the others, wait for them to end, and raise that failure."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
