"""Give a started stack its topics, schemas and tables; all of it may be repeated."""

from __future__ import annotations

import asyncio

from millrace.embedded.readyfile import Addresses
from millrace.embedded.supervise import Report


async def provision(addresses: Addresses, report: Report) -> None:
    """Apply topics, register schemas and migrate the database, at the same time.

    Imported here because `python -m millrace.embedded` runs without the contracts and the database's tools.

    :raises MillraceError: what exists differs from the catalogue in a way that a person must decide.
    """
    from millrace.contracts.catalog import Catalog  # noqa: PLC0415 - memory and seconds that only its users pay
    from millrace.contracts.provision import apply_topics, register_schemas  # noqa: PLC0415 - memory and seconds that only its users pay
    from millrace.store.migrate import migrate  # noqa: PLC0415 - memory and seconds that only its users pay

    catalog = Catalog.load()
    topics, schemas, _ = await asyncio.gather(
        apply_topics(addresses.cluster, catalog, report=_nothing),
        asyncio.to_thread(register_schemas, addresses.registry, catalog, _nothing),
        asyncio.to_thread(migrate, addresses.postgres),
    )
    report(f"topics: {len(topics)} changed; schemas: {schemas} registered; database: newest schema")


def _nothing(_: str) -> None:
    """A line for each topic would bury the lines about the parts."""
