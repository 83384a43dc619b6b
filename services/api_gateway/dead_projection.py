"""Dead letters from their topics into the table `dead_letters`: each once, however often they are read."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError

from millrace.cluster import Cluster
from millrace.contracts.dead import DeadLetter, Place, read
from millrace.store.pool import OUTAGES

log = logging.getLogger(__name__)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS: Final = 253_402_300_799_000  # of the calendar
_POLL_MS: Final = 500
_AT_ONCE: Final = 100
_PAUSE_S: Final = 2.0
_LONGEST_INDEXED: Final = 300  # characters; anybody may write to a topic, and an index takes 2,704 bytes
_NOT_OF_A_ROW: Final[tuple[type[BaseException], ...]] = (*OUTAGES, asyncpg.SyntaxOrAccessError)
_READ = 'SELECT topic, "partition", max("offset") AS "offset" FROM dead_letters GROUP BY topic, "partition"'
# A round of tries that was given up on twice, because the worker died in between, is one letter. What people have
# decided about a letter stays when it is read again.
_INSERT = """
INSERT INTO dead_letters (id, topic, "partition", "offset", stage, share_id, origin_topic, origin_partition,
                          origin_offset, key, value, headers, options, error, reason, stack, attempts, work_key,
                          service, died_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
ON CONFLICT DO NOTHING
"""


class DeadLetterProjection:
    """Reads all partitions of the dead-letter topics, in no group.

    How far it is stands in the table itself: a database that was restored from a backup is filled again. Several
    gateways do the same work side by side and the result is the same; dead letters are few.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], kafka: Cluster, topics: Collection[str]) -> None:
        self._pool = pool
        self._kafka = kafka
        self._topics = topics

    async def run(self) -> None:
        """Read until cancelled; outages of Kafka and PostgreSQL are waited for."""
        while True:
            try:
                await self._read()
            except (KafkaError, *OUTAGES) as exc:
                log.warning("dead letters are not read at present (%s); trying again", type(exc).__name__)
            except Exception:  # shares are still taken and shown
                log.exception("dead letters cannot be read; trying again")
            await asyncio.sleep(_PAUSE_S)

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            *self._topics,
            **self._kafka.aiokafka(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # of new partitions, and where retention has removed what would come next
        )
        try:
            await consumer.start()
            known = {(row["topic"], row["partition"]): row["offset"] for row in await self._pool.fetch(_READ)}
            for tp in consumer.assignment():
                if (last := known.get((tp.topic, tp.partition))) is not None:
                    consumer.seek(tp, last + 1)
            while True:
                for records in (await consumer.getmany(timeout_ms=_POLL_MS, max_records=_AT_ONCE)).values():
                    await self._keep(records)
        finally:
            await consumer.stop()

    async def _keep(self, records: Sequence[ConsumerRecord]) -> None:
        rows = [_row(_letter(record)) for record in records]
        try:
            await self._pool.executemany(_INSERT, rows)
        except _NOT_OF_A_ROW:
            raise
        except asyncpg.PostgresError:
            await self._keep_one_by_one(records)
        log.info("%d dead letters of %s read", len(rows), records[0].topic)

    async def _keep_one_by_one(self, records: Sequence[ConsumerRecord]) -> None:
        """One of them cannot be kept: those behind it shall not wait for it for ever."""
        for record in records:
            try:
                await self._pool.execute(_INSERT, *_row(_letter(record)))
            except _NOT_OF_A_ROW:
                raise
            except asyncpg.PostgresError as exc:
                at = Place(record.topic, record.partition, record.offset)
                # The error's text would show what the letter holds.
                log.error(  # noqa: TRY400
                    "the dead letter %s cannot be kept and is not shown (%s): look at it in its topic",
                    at,
                    type(exc).__name__,
                )


async def stop(reading: asyncio.Task[None]) -> None:
    """End a projection's task."""
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading


def _letter(record: ConsumerRecord) -> DeadLetter:
    at = Place(record.topic, record.partition, record.offset)
    written_at = _EPOCH + timedelta(milliseconds=min(max(record.timestamp, 0), _LAST_MS))
    return read(at, record.key or b"", record.value or b"", record.headers, written_at)


def _row(letter: DeadLetter) -> tuple[object, ...]:
    """A dead letter as values of `_INSERT`."""
    origin = letter.origin
    return (
        letter.id,
        letter.at.topic,
        letter.at.partition,
        letter.at.offset,
        letter.stage,
        letter.share_id and letter.share_id[:_LONGEST_INDEXED],
        origin and origin.topic,
        origin and origin.partition,
        origin and origin.offset,
        letter.key,
        letter.value,
        {name: b64encode(raw).decode() for name, raw in letter.headers.items()},
        None if letter.options is None else dict(letter.options),
        letter.error[:_LONGEST_INDEXED],
        letter.reason,
        letter.stack,
        letter.attempts,
        letter.work_key,
        letter.service,
        letter.died_at,
    )
