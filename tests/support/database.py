"""A look into the database of what a test runs."""

from __future__ import annotations

import psycopg
import psycopg.rows


def rows(postgres: str, query: str, *args: object) -> list[dict[str, object]]:
    """What a query gives, by the names of its columns."""
    with psycopg.connect(postgres, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute(query.encode(), args).fetchall()
