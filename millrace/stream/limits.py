"""A stage's limits on one piece of work: said to be overdue at the soft one, ended at the hard one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from millrace.errors import OverLimit
from millrace.stream.stage import StageSpec

log = logging.getLogger(__name__)


@asynccontextmanager
async def limited(spec: StageSpec, overdue: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """What is done inside is cancelled at the hard limit; `overdue` is awaited beside it at the soft one.

    :raises OverLimit: the hard limit was reached.
    """

    async def warn() -> None:
        await asyncio.sleep(spec.soft_limit.total_seconds())
        await overdue()

    # No soft limit of its own: what is ended at the same moment need not be warned of.
    warning = asyncio.create_task(warn()) if spec.soft_limit < spec.hard_limit else None
    try:
        async with asyncio.timeout(spec.hard_limit.total_seconds()) as limit:
            yield
    except TimeoutError as exc:
        if not limit.expired():
            raise  # the work's own
        raise OverLimit(f"not finished within the stage's limit of {in_words(spec.hard_limit)}") from exc
    finally:
        if warning is not None:
            warning.cancel()
            await asyncio.wait([warning])
            if not warning.cancelled() and (failed := warning.exception()) is not None:
                log.error("that work is overdue could not be shown", exc_info=failed)  # no reason to lose the work


def in_words(limit: timedelta) -> str:
    """`15 minutes`, or seconds where minutes would not be exact."""
    seconds = limit.total_seconds()
    return f"{seconds:g} seconds" if seconds < 120 or seconds % 60 else f"{seconds // 60:.0f} minutes"
