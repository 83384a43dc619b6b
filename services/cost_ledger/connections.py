"""What an audit and a rebuild of the ledger's books work with, and what they report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from millrace.contracts.catalog import Catalog
from millrace.contracts.partitions import partition_for
from millrace.contracts.wire import Codec
from millrace.ledger.topics import DECISIONS
from millrace.progress_line import ProgressPrinter
from millrace.store.pool import open_pool
from millrace.store.version import verify_migrated
from services.cost_ledger.core import open_codec
from services.cost_ledger.entries import LogEntries
from services.cost_ledger.journal import Journal
from services.cost_ledger.reading import LedgerReader
from services.cost_ledger.settings import NAME, LedgerSettings
from services.cost_ledger.spend import Decided

_CHUNK: Final = 2000


@dataclass
class Report:
    """What was compared or changed; `since` is the first day that the log has whole, None for its beginning."""

    ok: bool = False
    decisions: int = 0
    decided_again: int = 0
    since: str | None = None
    difference_count: int = 0
    differences: list[dict[str, str]] = field(default_factory=list)
    changed: dict[str, int] = field(default_factory=dict)
    took_s: float = 0.0


@dataclass
class Books:
    """The connections of one run."""

    settings: LedgerSettings
    codec: Codec
    partitions: int
    reader: LedgerReader
    journal: Journal
    entries: LogEntries
    told: ProgressPrinter = field(default_factory=lambda: ProgressPrinter(NAME))

    def home(self, account: str) -> int:
        """The partition of an account."""
        return partition_for(account, self.partitions)

    async def chunks(self, partition: int) -> AsyncIterator[list[Decided]]:
        """A partition's decisions, a few thousand at a time; they are entered beside the journal on the way."""
        decisions = self.reader.decisions(partition)
        seen = 0
        while chunk := await asyncio.to_thread(lambda: list(islice(decisions, _CHUNK))):
            await self.entries.add(chunk)
            yield chunk
            seen += len(chunk)
            self.told(f"partition {partition}: {seen} decisions read")


@asynccontextmanager
async def open_books(settings: LedgerSettings) -> AsyncIterator[Books]:
    """Everything connected and checked.

    :raises ConfigurationError: a topic, a schema or a table is missing.
    :raises Unavailable: a part does not answer.
    """
    catalog = Catalog.load()
    async with (
        open_codec(settings, catalog) as codec,
        open_pool(settings.postgres.get_secret_value(), size=2) as pool,
    ):
        await verify_migrated(pool)
        async with pool.acquire() as connection:
            reader = LedgerReader(settings, codec)
            partitions = catalog.topic(DECISIONS).partitions
            yield Books(settings, codec, partitions, reader, Journal(pool), LogEntries(connection))
