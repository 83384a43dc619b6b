"""Brings waiting work back: publishes what is due to the stage's `.requested` topic, at least once.

A message is taken with a short lease on its row and removed only when Kafka has confirmed it: a mover that dies in
between leaves it to be published again, and the work key absorbs the repeat.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from millrace.contracts.events import StageName
from millrace.errors import Poison
from millrace.store.jobs import JobStore
from millrace.stream.messages import Writer

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
TAKEN_FOR = timedelta(seconds=10)
"""Longer than Kafka takes to confirm a batch; so long its messages are late when the mover dies with them."""


async def move_waiting(stage: StageName, jobs: JobStore, writer: Writer) -> None:
    """Run until cancelled."""
    while True:
        due = await jobs.due(stage, TAKEN_FOR)
        for message in due:
            headers = [(name, text.encode()) for name, text in message.headers.items()]
            try:
                await writer.forward(message.topic, message.key, message.value, headers)
            except Poison as exc:
                # Somebody has lowered the topic's limit. It stays, and is tried again a little later.
                log.error("%s %s cannot go on: %s", stage, message.share_id, exc)  # noqa: TRY400 - no stack needed
                continue
            await jobs.delivered(message)
            log.info("%s %s: waited long enough, goes on", stage, message.share_id)
        if not due:
            await asyncio.sleep(LOOK_EVERY_S)
