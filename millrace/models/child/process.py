"""One child process with one model in it, as its agent sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from millrace.errors import ConfigurationError, MillraceError, OutOfMemory, Poison, Retryable
from millrace.models.child import frames
from millrace.models.child.environment import child_environment
from millrace.models.child.frames import ASK, DONE, EXIT_MEMORY, FAILED, LOAD, READY, TOLD, Failed, Frame, Load

_PROGRAM = "millrace.models.child.program"
_ENDS_WITHIN_S = 2.0  # once its pipe is closed

Told = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True)
class Recipe:
    """What a child becomes.

    `name` is the model's, for people; `function` (`package.module:name`) is called in the child with `settings` and
    gives a `millrace.models.child.program.Work`.
    """

    name: str
    function: str
    settings: Mapping[str, JsonValue]


class Child:
    """A running child. Whoever gets anything but an answer or `Retryable` out of `ask` has to `end` it."""

    def __init__(self, recipe: Recipe, process: asyncio.subprocess.Process) -> None:
        self._recipe = recipe
        self._process = process
        self.asked = 0
        """How many questions it was asked."""

    @classmethod
    async def start(cls, recipe: Recipe, *, memory_mb: int | None = None) -> Child:
        """Start it and load the model; a cancellation meanwhile ends it.

        :raises ConfigurationError: the model cannot be loaded.
        :raises Retryable: the child died while loading it.
        """
        # From the event loop's thread, which lives as long as the agent: the kernel looks at the thread that forks.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            _PROGRAM,
            str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=child_environment(os.environ, sys.path),
            start_new_session=True,  # a terminal's Ctrl-C is the agent's
        )
        child = cls(recipe, process)
        load = Load(function=recipe.function, settings=dict(recipe.settings), memory_mb=memory_mb)
        try:
            await child._send(Frame(LOAD, load.model_dump_json().encode()))
            child._expect(READY, await child._read())
        except BaseException:
            await child.end()
            raise
        return child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        output = self._process.stdout
        return self._process.returncode is None and output is not None and not output.at_eof()

    async def ask(self, question: bytes, body: bytes, told: Told) -> tuple[bytes, bytes]:
        """The JSON and the bytes of the answer; `told` gets the JSON of what it tells meanwhile.

        :raises Retryable: it failed, or died.
        :raises Poison: it cannot work on this.
        """
        self.asked += 1
        await self._send(Frame(ASK, question, body))
        while (frame := await self._read()).kind == TOLD:
            await told(frame.document)
        self._expect(DONE, frame)
        return frame.document, frame.body

    async def end(self) -> None:
        """Kill it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        # Not cut off: a child that is not waited for stays in the table of processes.
        await asyncio.shield(self._process.wait())

    async def _send(self, frame: Frame) -> None:
        pipe = self._process.stdin
        if pipe is None:
            raise RuntimeError("the child was started without a pipe")
        try:
            pipe.write(frame.packed())
            pipe.write(frame.body)
            await pipe.drain()
        except ConnectionError:
            raise await self._death() from None

    async def _read(self) -> Frame:
        pipe = self._process.stdout
        if pipe is None:
            raise RuntimeError("the child was started without a pipe")
        frame = await frames.read(pipe)
        if frame is None:
            raise await self._death()
        return frame

    async def _death(self) -> Retryable:
        """It said nothing any more: why, as far as the kernel tells."""
        # Not killed at once: before it sends a signal, asyncio's own loop looks whether the process has ended, and so
        # takes the status away from who waits for it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDS_WITHIN_S):
                await self._process.wait()
        await self.end()  # it has only closed its pipe
        status = self._process.returncode or 0
        if status == EXIT_MEMORY:
            return self._out_of_memory()
        if status == -signal.SIGKILL:
            return OutOfMemory(
                f"the child process of the model {self._recipe.name} was killed (signal 9), as the kernel does when "
                "memory runs out"
            )
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return Retryable(f"the child process of the model {self._recipe.name} {how}")

    def _expect(self, kind: bytes, frame: Frame) -> None:
        if frame.kind == FAILED:
            raise self._error(frame)
        if frame.kind != kind:
            raise AssertionError(f"a frame of kind {frame.kind!r} and not {kind!r}")

    def _error(self, frame: Frame) -> MillraceError:
        failed = Failed.model_validate_json(frame.document)
        match failed.route:
            case "configuration":
                return ConfigurationError(failed.reason)
            case "poison":
                return Poison(failed.reason)
            case "retryable":
                return Retryable(failed.reason)
            case "memory":
                return self._out_of_memory()
            case "unforeseen":
                return Retryable(f"an unexpected {failed.reason} in the model {self._recipe.name}; the log has more")

    def _out_of_memory(self) -> OutOfMemory:
        return OutOfMemory(
            f"the model {self._recipe.name} needs more memory than it may have: see MILLRACE_CHILD_MEMORY_MB"
        )
