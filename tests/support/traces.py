"""Where a text is found in a database, whatever table and column it is in."""

from __future__ import annotations

import asyncpg

from millrace.store.vectors import Connection

_TABLES = """
SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename
"""


async def traces(connection: Connection, *texts: str) -> list[str]:
    """Tables with a row that holds one of these texts, as text or as bytes, whatever its case."""
    found = []
    for table in await connection.fetch(_TABLES):
        name = table["name"]
        sql = (
            f"SELECT count(*) FROM {name} AS t WHERE t::text ILIKE '%' || $1 || '%' OR t::text LIKE '%' || $2 || '%'"  # noqa: S608
        )
        counts = {text: await connection.fetchval(sql, text, text.encode().hex()) for text in texts}
        found += [f"{name}: {count} with {text}" for text, count in counts.items() if count]
    return found


async def traces_at(postgres: str, *texts: str) -> list[str]:
    """The same, of a database by its URL."""
    connection = await asyncpg.connect(postgres)
    try:
        return await traces(connection, *texts)
    finally:
        await connection.close()
