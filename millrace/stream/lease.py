"""Keep a lease renewed while work goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from millrace.ids import WorkKey
from millrace.store.work import Fence, WorkStore

log = logging.getLogger(__name__)


@asynccontextmanager
async def kept_lease(work: WorkStore, key: WorkKey, fence: Fence, lease: timedelta) -> AsyncIterator[None]:
    """Renew at a third of the lease. A lost fence is noted, not acted on: a paid call is never thrown away for it;
    completing the work will tell who owns it.
    """

    third = lease.total_seconds() / 3

    async def renew() -> None:
        while True:
            await asyncio.sleep(third)
            try:
                async with asyncio.timeout(third):
                    ours = await work.renew(key, fence)
            except TimeoutError:
                log.warning("%s: the lease could not be renewed in %.0f s; trying again", key, third)
                continue
            if not ours:
                log.warning("%s: somebody else took over; this run's answers are kept, its result may not be", key)
                return

    keeper = asyncio.create_task(renew())
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.wait(
            [keeper]
        )  # not `await keeper`: that would raise what ended it in place of the job's outcome
        if not keeper.cancelled() and (error := keeper.exception()) is not None:
            log.error("%s: the lease was not kept to the end", key, exc_info=error)
