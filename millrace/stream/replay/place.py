"""How far a replay is in the log: in the database, and for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import JsonValue, TypeAdapter

from millrace.store.replays import ReplayRow, ReplayStore
from millrace.stream.replay.window import Stretch

Told = Callable[[str], None]
"""Takes a sentence about how far it is."""
_STRETCHES = TypeAdapter(list[Stretch])


class Place:
    """How far the publishing is."""

    def __init__(self, replay: ReplayRow, stretches: list[Stretch], store: ReplayStore, told: Told) -> None:
        self._replay = replay
        self._stretches = stretches
        self._store = store
        self._told = told
        self._count = replay.published

    async def confirmed(self, number: int, offset: int, commands: int) -> None:
        """Kafka has the commands of a stretch up to an offset."""
        self._count += commands
        self._stretches[number] = self._stretches[number].moved(offset)
        await self._store.published(self._replay.replay_id, written(self._stretches), self._count)
        self._told(f"published {self._count} of {self._replay.commands} commands")

    async def finished(self) -> None:
        """Everything is published."""
        stretches = [stretch.moved(stretch.stop) for stretch in self._stretches]
        await self._store.published(self._replay.replay_id, written(stretches), self._count, finished=True)


def read_stretches(value: JsonValue) -> list[Stretch]:
    """Stretches as the database has them."""
    return _STRETCHES.validate_python(value)


def written(stretches: Sequence[Stretch]) -> JsonValue:
    """Stretches for the database."""
    value: JsonValue = _STRETCHES.dump_python(list(stretches), mode="json")
    return value
