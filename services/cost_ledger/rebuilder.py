"""Makes everything that the ledger has written anew from its log; it must not work meanwhile."""

from __future__ import annotations

import asyncio
from typing import Final

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from pydantic_core import to_json

from millrace.clock import from_millis
from millrace.contracts.headers import Headers
from millrace.errors import ConfigurationError, Unavailable
from millrace.ledger.topics import ROWS, SPEND
from services.cost_ledger.audit import TABLES, first_whole_day
from services.cost_ledger.connections import Books, Report
from services.cost_ledger.log import LogSetup, PartitionLog
from services.cost_ledger.rebuild import Truth
from services.cost_ledger.settings import LedgerSettings
from services.cost_ledger.tables import spend_headers, spend_key
from services.cost_ledger.topics import changelog

_CONFIRMED_S: Final = 30.0
_TRANSACTION: Final = 20_000
"""Rows in one transaction: it has to be over within 15 s."""


class _Writer:
    """Writes rows of the compacted topics other than the core's."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._failed = 0
        self._producer = Producer({**books.settings.cluster.librdkafka(), "enable.idempotence": True, "acks": "all"})

    def write(
        self,
        topic: str,
        partition: int,
        key: bytes,
        value: bytes | None,
        headers: Headers | None = None,
    ) -> None:
        """Queue a row; None removes it."""
        while True:
            try:
                self._producer.produce(
                    topic, value, key, partition, on_delivery=self._delivered, headers=[*(headers or [])]
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def confirm(self) -> None:
        """Wait until Kafka has all of them.

        :raises Unavailable: it does not.
        """
        if self._producer.flush(_CONFIRMED_S) or self._failed:
            raise Unavailable("Kafka did not take all rows: run the rebuild again")

    def _delivered(self, error: object, _: object) -> None:
        self._failed += error is not None


async def rebuild(books: Books) -> Report:
    """Make rows, tables, spend topic and journal what the log says; what agrees already is not written.

    :raises ConfigurationError: the ledger runs.
    """
    await asyncio.to_thread(_nobody_works, books.settings)
    report = Report()
    await books.entries.begin()
    writer = _Writer(books)
    for partition in range(books.partitions):
        # Fenced first: whoever decides although he should not is shut out before the log is read to its end.
        settings = books.settings
        setup = LogSetup(settings.cluster, settings.topics, settings.ledger_app_id, "rebuild", books.codec)
        log = PartitionLog(setup, partition)
        stored = (await asyncio.to_thread(log.fence)).rows
        truth: Truth | None = None
        async for chunk in books.chunks(partition):
            if truth is None:
                since = first_whole_day(chunk[0].decision)
                report.since = f"{from_millis(since):%Y-%m-%d}" if since else report.since
                truth = Truth(books.home, since_ms=since)
            report.decisions += len(chunk)
            for decided in chunk:
                truth.follow(decided)
        if truth is not None:
            changes = truth.rows(stored)
            # Whoever dies in between leaves rows that do not match their digest: no core takes those, another
            # rebuild does.
            for start in range(0, len(changes), _TRANSACTION):
                await asyncio.to_thread(log.mend, changes[start : start + _TRANSACTION])
            _count(report, ROWS, len(changes))
            await asyncio.to_thread(_mend_tables, books, partition, truth, writer, report)
        log.close()
    await asyncio.to_thread(writer.confirm)
    for place, rows in (await books.entries.mend()).items():
        _count(report, place, rows)
    report.ok = True
    return report


def _mend_tables(books: Books, partition: int, truth: Truth, writer: _Writer, report: Report) -> None:
    settings = books.settings
    places = books.reader.places(partition)
    for window, name in TABLES.items():
        rows = truth.table(window, places.tables[window])
        for key, row in rows.items():
            topic = changelog(settings.ledger_app_id, name)
            writer.write(topic, partition, to_json(key), None if row is None else to_json(row))
        _count(report, name, len(rows))
    spend = truth.spend(places.spend)
    for window_key, said in spend.items():
        if said is None:
            writer.write(settings.topics.spend, partition, spend_key(places.spend[window_key]), None)
        else:
            value = books.codec.encode(SPEND, said)
            writer.write(settings.topics.spend, partition, spend_key(said), value, spend_headers(said))
    _count(report, SPEND, len(spend))


def _count(report: Report, place: str, rows: int) -> None:
    report.changed[place] = report.changed.get(place, 0) + rows


def _nobody_works(settings: LedgerSettings) -> None:
    """Rows must not change while they are made anew."""
    groups = (settings.ledger_app_id, f"{settings.ledger_app_id}-admission")
    admin = AdminClient(settings.cluster.librdkafka())
    for group, described in admin.describe_consumer_groups(list(groups), request_timeout=15).items():
        members = len(described.result().members)
        if members:
            raise ConfigurationError(f"The cost ledger runs ({members} in the group {group}): stop it first.")
