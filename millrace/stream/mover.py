"""Brings waiting work back: publishes what is due to the stage's `.requested` topic, at least once.

A message is taken with a short lease on its row and removed only when Kafka has confirmed it: a mover that dies in
between leaves it to be published again, and the work key absorbs the repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta

from millrace.errors import Poison
from millrace.store.waiting import Waiting, WaitingStore
from millrace.stream.gates import Gates
from millrace.stream.incoming import GATE_HEADER, PLACE_HEADER
from millrace.stream.writer import Writer

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
TAKEN_FOR = timedelta(seconds=10)
"""Longer than Kafka takes to confirm a batch; so long its messages are late when the mover dies with them."""


async def move_waiting(gates: Gates, waiting: WaitingStore, writer: Writer) -> None:
    """Run until cancelled."""
    while True:
        gates.moved.clear()
        await gates.look()
        due = await waiting.take(TAKEN_FOR)
        for message in due:
            await _publish(message, waiting, writer)
        if not due:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(gates.moved.wait(), LOOK_EVERY_S)


async def _publish(message: Waiting, waiting: WaitingStore, writer: Writer) -> None:
    headers = [(name, text.encode()) for name, text in message.headers.items()]
    headers.append((PLACE_HEADER, str(message.place).encode()))
    if message.gate is not None:
        headers.append((GATE_HEADER, message.gate.encode()))
    try:
        await writer.forward(message.topic, message.key, message.value, headers)
    except Poison as exc:
        # Somebody has lowered the topic's limit. It stays, and is tried again a little later.
        log.error("%s %s cannot go on: %s", message.stage, message.share_id, exc)  # noqa: TRY400 - no stack needed
        return
    await waiting.delivered(message)
    log.info("%s %s: waited long enough, goes on", message.stage, message.share_id)
