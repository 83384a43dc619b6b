"""How a service starts: settings read once, other parts waited for, one sentence when it cannot."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar, cast

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from millrace.errors import ConfigurationError, MillraceError, Unavailable

EXIT_UNAVAILABLE = 69
EXIT_CRASHED = 70
EXIT_TEMPORARY = 75
EXIT_CONFIGURATION = 78

_PR_SET_DUMPABLE = 4

S = TypeVar("S", bound=BaseSettings)
T = TypeVar("T")


def exit_status(error: MillraceError) -> int:
    """Exit status after a failed start, as in sysexits.h."""
    return EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_UNAVAILABLE


def close_to_others() -> None:
    """Keep this user's other processes, children first, from this one's environment and memory (Linux only).

    They could read keys in `/proc/<pid>/environ`, or attach as debuggers do. Programs that it starts are not closed
    so. Core dumps are off, and `/proc/self` is root's: https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def say(name: str, text: str) -> None:
    """One line for the operator."""
    sys.stderr.write(f"{name}: {text}\n")
    sys.stderr.flush()


def load_settings(kind: type[S], **known: str) -> S:
    """Settings from the environment; `known` go before it.

    :raises ConfigurationError: naming every setting that is missing or wrong, without its value.
    """
    try:
        return cast(Callable[..., S], kind)(**known)
    except ValidationError as exc:
        found = exc.errors(include_input=False, include_url=False, include_context=False)
        wrong = [_wrong(error["loc"], error["msg"]) for error in found]
    raise ConfigurationError(f"Set these in the environment: {', '.join(wrong)}.")


def _wrong(place: tuple[int | str, ...], message: str) -> str:
    """What is wrong with a setting, or with several together: those name themselves."""
    if not place:
        return message.removeprefix("Value error, ")
    return f"{_variable(place)} ({message[0].lower()}{message[1:]})"


def _variable(place: tuple[int | str, ...]) -> str:
    """The variable of a setting: by its field, or as it was read under one of its names."""
    name = "_".join(map(str, place))
    return name if name.isupper() else f"MILLRACE_{name.upper()}"


def settings_or_exit(kind: type[S]) -> S:
    """Settings from the environment; what is missing or wrong ends the process with one sentence."""
    try:
        return load_settings(kind)
    except ConfigurationError as exc:
        say("settings", str(exc))
        raise SystemExit(exit_status(exc)) from None


async def patiently(attempt: Callable[[], Awaitable[T]], *, name: str, within_s: float, retry_s: float = 1.0) -> T:
    """What `attempt()` returns, tried anew while parts are away, saying which.

    :raises Unavailable: a part is still away after `within_s`.
    :raises ConfigurationError: at once.
    """
    loop = asyncio.get_running_loop()
    deadline, told = loop.time() + within_s, ""
    while True:
        try:
            return await attempt()
        except Unavailable as exc:
            if loop.time() > deadline:
                raise Unavailable(f"{str(exc).rstrip('.')}; gave up after {within_s:.0f} s.") from exc
            if str(exc) != told:
                told = str(exc)
                say(name, f"{told.rstrip('.')}; waiting for it")
        await asyncio.sleep(retry_s)


async def enter_patiently(
    stack: AsyncExitStack,
    connect: Callable[[], AbstractAsyncContextManager[T]],
    *,
    name: str,
    within_s: float,
    retry_s: float = 1.0,
) -> T:
    """Enter `connect()` on the stack; see `patiently`."""
    return await patiently(
        lambda: stack.enter_async_context(connect()), name=name, within_s=within_s, retry_s=retry_s
    )
