"""Whether a stage takes new jobs: not while most of them end as dead letters.

A bad deployment would otherwise make dead letters of a whole topic. Records stay where they are, unacknowledged.
After a pause one job is tried, and the stage goes on when that ends well. `dead_ratio.py` decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Protocol

from millrace.contracts.dead import DEAD_GATE
from millrace.kafka.records import Message
from millrace.store.dead_gate import DeadGateStore
from millrace.stream.breaker import pause
from millrace.stream.dead_ratio import DeadLimit, too_many
from millrace.stream.gates import Gates
from millrace.telemetry import metrics

log = logging.getLogger(__name__)
LOOK_EVERY_S = 1.0


class JobObserver(Protocol):
    """Sees how jobs end."""

    async def ended(self, message: Message, *, dead: bool) -> None:
        """A record's job has ended, with a result or as a dead letter."""
        ...

    async def unused(self, message: Message) -> None:
        """A record asked for nothing."""
        ...


class Unobserved:
    """Nobody looks."""

    async def ended(self, message: Message, *, dead: bool) -> None:
        """See `JobObserver.ended`."""

    async def unused(self, message: Message) -> None:
        """See `JobObserver.unused`."""


class DeadLetterBreaker:
    """Implements `JobObserver` for one worker; the gate is shared by all workers of the stage."""

    def __init__(self, gates: Gates, store: DeadGateStore, limit: DeadLimit) -> None:
        self._gates = gates
        self._store = store
        self._limit = limit
        self._ends: deque[bool] = deque(maxlen=limit.last)
        self._probe: Message | None = None
        metrics.PAUSED.labels(gates.stage).set_function(lambda: gates.shut(DEAD_GATE) is not None)

    def closed(self) -> str | None:
        """Why nothing new is taken, or None."""
        gate = self._gates.shut(DEAD_GATE)
        if gate is None:
            return None
        return (
            f"nothing new is taken because too many jobs ended as dead letters: see `millrace dead list --stage "
            f"{self._gates.stage}`; one job is tried at {gate.until:%H:%M:%S} UTC"
        )

    async def hold(self, message: Message) -> None:
        """Return when a record's job may begin: when the gate is open, or when it is the one that tries."""
        while self._gates.shut(DEAD_GATE) is not None:
            self._ends.clear()  # what comes after is judged anew
            if await self._store.probe():
                log.info("%s: one job is tried", self._gates.stage)
                self._probe = message
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def ended(self, message: Message, *, dead: bool) -> None:
        """See `JobObserver.ended`; closes the gate or opens it."""
        gate = self._gates.shut(DEAD_GATE)
        probing = self._take_back(message)
        if gate is not None and not probing:
            return  # it began before the gate was closed, and says nothing new
        if probing and not dead:
            log.info("%s: the job that was tried ended well; going on", self._gates.stage)
            await self._gates.passed(DEAD_GATE)
            return
        self._ends.append(dead)
        if probing or too_many(self._ends, self._limit):
            wait = pause(gate.closings if gate else 0)
            log.error(
                "%s: too many jobs end as dead letters; nothing new is taken for %.0f s, then one is tried",
                self._gates.stage,
                wait.total_seconds(),
            )
            self._ends.clear()
            await self._store.close(wait)
            await self._gates.look()

    async def unused(self, message: Message) -> None:
        """See `JobObserver.unused`."""
        if self._take_back(message):
            await self._store.unused()

    def _take_back(self, message: Message) -> bool:
        if self._probe is not message:
            return False
        self._probe = None
        return True
