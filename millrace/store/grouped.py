"""One statement for many jobs at once: what they ask for while one round trip is under way goes together in the next.

A job's statements are short and its jobs are many, so the time goes into round trips and commits; this shares both.
When few jobs run, a statement goes out at once and alone.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from dataclasses import dataclass
from typing import Final

from opentelemetry.trace import SpanKind

from millrace.store.database import Database, Record, Value
from millrace.tracing.spans import span

MOST: Final = 100
"""Statements in one transaction: enough to share a commit, few enough that the first need not wait for the last."""


@dataclass(frozen=True)
class _Asked:
    key: str
    args: tuple[Value, ...]
    row: asyncio.Future[Record | None]


class Grouped:
    """A statement whose first argument is a key, and which returns at most one row, with that key as `key`."""

    def __init__(self, database: Database, sql: str) -> None:
        self._db = database
        self._sql = sql
        self._span = sql.split(maxsplit=1)[0]
        self._about = {"db.system": "postgresql", "db.statement": sql}
        self._asked: list[_Asked] = []
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self, key: str, *args: Value) -> Record | None:
        """The row of this key; None when the statement gave none.

        Cancelled meanwhile, the statement may have been run or not, as with any other.
        """
        asked = _Asked(key, args, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), context=Context())  # it is nobody's
        with span(self._span, kind=SpanKind.CLIENT, attributes=self._about):  # of each, as a library's would be
            return await asked.row

    async def _ask(self) -> None:
        while self._asked:
            group = self._next_group()
            try:
                await self._run(group)
            except Exception as exc:  # noqa: BLE001 - it belongs to whoever asked
                if len(group) == 1:
                    _fail(group, exc)
                else:
                    await self._one_by_one(group)
            except BaseException as exc:
                _fail(group + self._asked, exc)
                self._asked = []
                raise

    def _next_group(self) -> list[_Asked]:
        """At most one of each key, in the order of keys: two processes then lock rows in the same order."""
        group: dict[str, _Asked] = {}
        later = []
        for asked in self._asked:
            if len(group) < MOST and asked.key not in group:
                group[asked.key] = asked
            else:
                later.append(asked)
        self._asked = later
        return sorted(group.values(), key=lambda asked: asked.key)

    async def _run(self, group: list[_Asked]) -> None:
        rows = await self._db.many(self._sql, [(asked.key, *asked.args) for asked in group])
        found = {row["key"]: row for row in rows}
        for asked in group:
            if not asked.row.done():
                asked.row.set_result(found.get(asked.key))

    async def _one_by_one(self, group: list[_Asked]) -> None:
        """One of them cannot be run, and nobody knows which: the others shall not suffer for it."""
        for asked in group:
            try:
                await self._run([asked])
            except Exception as exc:  # noqa: BLE001 - it belongs to whoever asked
                _fail([asked], exc)


def _fail(group: list[_Asked], error: BaseException) -> None:
    for asked in group:
        if not asked.row.done():
            asked.row.set_exception(error)
