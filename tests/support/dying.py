"""A process that dies in the midst: at which step, and a database that it dies at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from millrace.store.database import Database, Record


class Died(BaseException):
    """The process ends here, in a test."""


def dies_after(steps: int) -> Callable[[], None]:
    """Lets so many steps pass; every further one dies."""
    left = steps

    def step() -> None:
        nonlocal left
        if left == 0:
            raise Died
        left -= 1

    return step


class DyingDatabase(Database):
    """The real database; the process may die before or after any statement."""

    def __init__(self, database: Database, step: Callable[[], None]) -> None:
        super().__init__(database.pool)
        self._step = step

    async def fetchrow(self, sql: str, *args: object) -> Record | None:
        self._step()
        row = await super().fetchrow(sql, *args)
        self._step()
        return row

    async def many(self, sql: str, of: Sequence[tuple[object, ...]]) -> Sequence[Record]:
        self._step()
        rows = await super().many(sql, of)
        self._step()
        return rows

    async def execute(self, sql: str, *args: object) -> int:
        self._step()
        changed = await super().execute(sql, *args)
        self._step()
        return changed
