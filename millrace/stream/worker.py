"""Runs a stage's application as a process: clear words at start, a bounded, graceful stop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn, Protocol, cast

import faust
import uvloop

from millrace.errors import MillraceError
from millrace.settings import WorkerSettings
from millrace.startup import EXIT_TEMPORARY, close_to_others, exit_status, patiently, say
from millrace.telemetry.log_lines import log_config
from millrace.telemetry.logs import quieten_libraries
from millrace.tracing.opening import tracing

STOP_WITHIN_S = 8.0
"""How long Faust may take to stop after the jobs were drained, before the process just ends."""


class Openable(Protocol):
    """What the worker asks of an application beside what Faust does."""

    settings: WorkerSettings
    known_as: str
    """Its name in logs and traces."""

    async def open(self) -> None:
        """Check and connect everything; may be tried again after `Unavailable`."""
        ...

    async def drain(self) -> None:
        """Let running jobs end for a while and give the rest back."""
        ...


class StageWorker(faust.Worker):
    """Faust's worker, which opens the application first and drains it before it stops."""

    def __init__(self, app: Any, *services: Any, **kwargs: Any) -> None:
        app.conf.web_enabled = False  # Faust's own web server shows table data; ours are the ops endpoints
        quieten_libraries()
        self._ours = cast(Openable, app)
        ours = self._ours.settings
        level = str(kwargs.get("loglevel") or ours.log_level).upper()
        kwargs["logging_config"] = log_config(self._ours.known_as, level, ours.log_format)
        super().__init__(app, *services, **kwargs)

    def execute_from_commandline(self) -> NoReturn:
        """Run until stopped; ends the process."""
        close_to_others()
        with self._tracing():
            self.loop.run_until_complete(self._open())
            super().execute_from_commandline()

    def _tracing(self) -> AbstractContextManager[None]:
        with _or_exit(self.app.conf.id):
            return tracing(self._ours.known_as, self._ours.settings)

    async def _open(self) -> None:
        name = self.app.conf.id
        with _or_exit(name):
            await patiently(self._ours.open, name=name, within_s=self._ours.settings.start_timeout_s)

    async def _stop_on_signal(self, signal: signal.Signals) -> None:
        seconds = self._ours.settings.drain_s + STOP_WITHIN_S
        timer = threading.Timer(seconds, os._exit, (EXIT_TEMPORARY,))
        timer.daemon = True
        timer.start()
        await self._ours.drain()
        await super()._stop_on_signal(signal)


@contextmanager
def _or_exit(name: str) -> Iterator[None]:
    """What cannot start ends the process with one sentence."""
    try:
        yield
    except MillraceError as exc:
        say(name, str(exc))
        raise SystemExit(exit_status(exc)) from exc


def run(app: Any) -> NoReturn:
    """Run an application as `python -m services.<name>` does."""
    # A job is a few dozen short waits: uvloop makes each of them cheaper, in Faust's consumer thread, too.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    worker = app.conf.Worker(app, loglevel=app.settings.log_level, daemon=True)
    worker.execute_from_commandline()
    raise SystemExit(0)
