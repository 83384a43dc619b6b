"""Runs a stage's application as a process: clear words at start, a bounded, graceful stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import Any, NoReturn, Protocol, TypeVar, cast

import faust
from pydantic import ValidationError

from millrace.errors import ConfigurationError, MillraceError, Unavailable
from millrace.settings import ServiceSettings, WorkerSettings

EXIT_UNAVAILABLE = 69
EXIT_TEMPORARY = 75
EXIT_CONFIGURATION = 78
STOP_WITHIN_S = 8.0
"""How long Faust may take to stop after the jobs were drained, before the process just ends."""


def exit_status(error: MillraceError) -> int:
    """Exit status after a failed start, as in sysexits.h."""
    return EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_UNAVAILABLE


def say(name: str, text: str) -> None:
    """One line for the operator."""
    sys.stderr.write(f"{name}: {text}\n")
    sys.stderr.flush()


class Openable(Protocol):
    """What the worker asks of an application beside what Faust does."""

    settings: WorkerSettings

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
        super().__init__(app, *services, **kwargs)
        self._ours = cast(Openable, app)

    def execute_from_commandline(self) -> NoReturn:
        """Run until stopped; ends the process."""
        self.loop.run_until_complete(self._open())
        super().execute_from_commandline()

    async def _open(self) -> None:
        name, deadline = self.app.conf.id, self.loop.time() + self._ours.settings.start_timeout_s
        told = ""
        while True:
            try:
                await self._ours.open()
            except Unavailable as exc:
                if self.loop.time() > deadline:
                    say(name, f"{exc}; gave up after {self._ours.settings.start_timeout_s:.0f} s")
                    raise SystemExit(EXIT_UNAVAILABLE) from exc
                if str(exc) != told:
                    told = str(exc)
                    say(name, f"{exc}; waiting for it")
                await asyncio.sleep(1)
            except MillraceError as exc:
                say(name, str(exc))
                raise SystemExit(exit_status(exc)) from exc
            else:
                return

    async def _stop_on_signal(self, signal: signal.Signals) -> None:
        seconds = self._ours.settings.drain_s + STOP_WITHIN_S
        timer = threading.Timer(seconds, os._exit, (EXIT_TEMPORARY,))
        timer.daemon = True
        timer.start()
        await self._ours.drain()
        await super()._stop_on_signal(signal)


def run(app: Any) -> NoReturn:
    """Run an application as `python -m services.<name>` does."""
    worker = app.conf.Worker(app, loglevel=app.settings.log_level, daemon=True)
    worker.execute_from_commandline()
    raise SystemExit(0)


S = TypeVar("S", bound=ServiceSettings)


def load_settings(kind: type[S]) -> S:
    """Settings from the environment; what is missing or wrong ends the process with one sentence a setting."""
    try:
        return kind()
    except ValidationError as exc:
        for problem in exc.errors(include_input=False, include_url=False):
            name = "MILLRACE_" + "_".join(map(str, problem["loc"])).upper()
            say("settings", f"{name}: {problem['msg']}")
        raise SystemExit(EXIT_CONFIGURATION) from None
