"""Reprocesses old events of a stage: reads them, publishes one command a share, remembers how far it is.

What if the process dies? What is to be published is written down before anything is: the offsets, and the turn and
the generation of all commands. The place in the log is written after Kafka has confirmed a batch, so a batch at most
is published again. Those commands are the same as before, byte by byte: a stage knows them by their turn, and work
that is to be done anew has the same key in both.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from millrace import ids
from millrace.clock import from_millis, millis
from millrace.contracts.events import ShareEvent, StageName
from millrace.contracts.headers import headers, new_trace, parse_traceparent
from millrace.errors import ConfigurationError, Poison
from millrace.kafka.records import Message
from millrace.store.replays import ReplayRow, ReplayStore
from millrace.stream.incoming import Incoming
from millrace.stream.reader import Reader
from millrace.stream.replay.choose import Choice, Chosen, Estimate, estimate
from millrace.stream.replay.place import Place, Told, read_stretches, written
from millrace.stream.replay.window import Stretch
from millrace.stream.stage import GENERATION_OPTION, MODEL_OPTION, Look, StageSpec
from millrace.stream.writer import Writer
from millrace.tracing.spans import BEFORE_HEADER

log = logging.getLogger(__name__)

BATCH: Final = 20
"""Commands that are confirmed together; so many are published again when the process dies."""
SOURCE: Final = "millrace-replay"


class Log(Protocol):
    """Reads records; `EventLog` does."""

    def read(self, stretch: Stretch, start: int) -> AsyncIterator[list[Message]]:
        """Records of a stretch from an offset on, in order."""
        ...


@dataclass(frozen=True)
class Wish:
    """What somebody wants: `only` these shares (None: all), another model, finished work done again.

    `more` are other options of the commands.
    """

    only: Collection[str] | None = None
    model: str | None = None
    force: bool = False
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What was read for a replay, and what it comes to."""

    replay: ReplayRow
    stretches: Sequence[Stretch]
    chosen: Chosen
    estimate: Estimate


class Replayer:
    """Replays one stage.

    :param look: says what the stage would do about an event.
    :param writer: makes a writer whose commands are of a moment.
    :param rate: most commands a second: what is new shall not wait behind all that is old.
    """

    def __init__(
        self,
        spec: StageSpec,
        *,
        look: Look,
        store: ReplayStore,
        log_: Log,
        reader: Reader,
        writer: Callable[[datetime], Writer],
        told: Told,
        rate: float,
    ) -> None:
        self._rate = rate
        self._spec = spec
        self._look = look
        self._store = store
        self._log = log_
        self._reader = reader
        self._writer = writer
        self._told = told

    async def find(self, stretches: Sequence[Stretch], wish: Wish) -> Found:
        """Read the window, choose each share's newest event, and say what its work will cost. Writes nothing.

        :raises ConfigurationError: the stage cannot work with this model.
        """
        replay_id = new_id(self._spec.name)
        options = dict(wish.more) if wish.model is None else {**wish.more, MODEL_OPTION: wish.model}
        if wish.force:
            options[GENERATION_OPTION] = replay_id
        chosen = await self._choose(stretches, wish.only, options)
        replay = ReplayRow(
            replay_id=replay_id,
            stage=self._spec.name,
            asked_at=await self._turn(chosen),
            options=options,
            shares=None if wish.only is None else sorted(wish.only),
            stretches=written(stretches),
            commands=len(chosen.by_share),
        )
        return Found(replay, stretches, chosen, await self._estimate(chosen))

    async def begin(self, found: Found) -> None:
        """Publish all of it."""
        await self._store.begin(found.replay)
        await self._publish(found.replay, found.stretches, found.chosen.places())

    async def resume(self, replay: ReplayRow) -> None:
        """Publish what is left of a replay that was stopped."""
        stretches = read_stretches(replay.stretches)
        chosen = await self._choose(stretches, replay.shares, replay.options)
        await self._publish(replay, stretches, chosen.places())

    async def _turn(self, chosen: Chosen) -> datetime:
        """After every event that is chosen, also where clocks differ; whole milliseconds, as events have them."""
        now = await self._store.now()
        return from_millis(max(millis(now), millis(chosen.newest()) + 1 if chosen.by_share else 0))

    async def _estimate(self, chosen: Chosen) -> Estimate:
        choices = chosen.by_share.values()
        done = await self._store.done({choice.work_key for choice in choices})
        average = await self._store.averages(self._spec.name, {choice.model for choice in choices})
        return estimate(choices, done, average)

    async def _choose(
        self, stretches: Sequence[Stretch], only: Collection[str] | None, options: Mapping[str, str]
    ) -> Chosen:
        chosen = Chosen(None if only is None else frozenset(only))
        total, read = sum(stretch.stop - stretch.start for stretch in stretches), 0
        for stretch in stretches:
            async for chunk in self._log.read(stretch, stretch.start):
                for message in chunk:
                    await self._consider(message, options, chosen)
                read += len(chunk)
                self._told(f"read {read} of {total} events; {len(chosen.by_share)} shares so far")
        return chosen

    async def _consider(self, message: Message, options: Mapping[str, str], chosen: Chosen) -> None:
        if not chosen.wants(message.key.decode("utf-8", "replace")):
            return
        try:
            incoming = await self._reader.read(message)
        except Poison:
            chosen.unreadable += 1
            return
        event = incoming.event
        if not isinstance(event, ShareEvent) or not chosen.wants(event.share_id):
            return
        try:
            if self._look(event, {}) is None:
                return
        except Poison:
            chosen.impossible += 1
            return
        try:
            prospect = self._look(event, options)
        except Poison as exc:
            raise ConfigurationError(f"The {self._spec.name} stage cannot do this: {exc}.") from exc
        if prospect is None:
            return
        key, model = prospect.plan.work_key(self._spec.name), prospect.plan.model
        chosen.add(Choice(event.share_id, message.at, message.offset, incoming.turn, key, model, prospect.most()))

    async def _publish(
        self, replay: ReplayRow, stretches: Sequence[Stretch], places: Collection[tuple[object, int]]
    ) -> None:
        writer = self._writer(replay.asked_at)
        async with self._store.sole_publisher(replay.replay_id):
            progress = Place(replay, list(stretches), self._store, self._told)
            for number, stretch in enumerate(stretches):
                async for chunk in self._log.read(stretch, stretch.next):
                    chosen = [message for message in chunk if (message.at, message.offset) in places]
                    for first in range(0, len(chosen), BATCH):
                        batch = chosen[first : first + BATCH]
                        await asyncio.gather(*(self._command(writer, replay, message) for message in batch))
                        await progress.confirmed(number, batch[-1].offset + 1, len(batch))
                        await asyncio.sleep(len(batch) / self._rate)
            await progress.finished()

    async def _command(self, writer: Writer, replay: ReplayRow, message: Message) -> None:
        read = await self._reader.read(message)
        event = read.event
        assert isinstance(event, ShareEvent)  # noqa: S101 - it was chosen
        incoming: Incoming = replace(read, options=replay.options)
        requested = self._spec.requested
        try:
            value = writer.command(self._spec.name, requested, incoming, event, "replay")
        except Poison as exc:
            log.warning("share %s is left out: %s", event.share_id, exc)
            return
        before = parse_traceparent(incoming.traceparent)
        about = headers(
            requested,
            ids.event_id(requested, event.share_id, replay.replay_id),
            source=SOURCE,
            subject=event.share_id,
            time=replay.asked_at,
            traceparent=new_trace(sampled=before is None or before.sampled),
        )
        if before is not None:
            about.append((BEFORE_HEADER, str(before).encode()))
        await writer.forward(requested, event.share_id.encode(), value, about)


def new_id(stage: StageName) -> str:
    """A replay's id; it begins with the stage."""
    return f"{stage}-{secrets.token_hex(4)}"
