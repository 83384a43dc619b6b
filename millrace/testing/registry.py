"""A schema registry in memory, for tests of whatever reads or writes messages."""

from __future__ import annotations

from collections.abc import Iterable

from millrace.contracts.catalog import Catalog
from millrace.contracts.wire import Codec
from millrace.errors import Unavailable


class InMemoryRegistry:
    """A `SchemaSource` that gives ids from 1; equal schemas have one id, as in a real registry.

    Set `down` to let it not answer; `asked` lists the ids that were fetched.
    """

    def __init__(self) -> None:
        self.down = False
        self.asked: list[int] = []
        self._ids: dict[str, int] = {}
        self._subjects: dict[str, set[str]] = {}

    @classmethod
    def holding(cls, catalog: Catalog) -> InMemoryRegistry:
        """One in which everything of the catalogue is registered."""
        registry = cls()
        for subject, versions in catalog.subjects().items():
            for schema in versions:
                registry.register(subject, schema.text)
        return registry

    def register(self, subject: str, schema: str) -> int:
        """Register a schema; its id."""
        self._subjects.setdefault(subject, set()).add(schema)
        return self._ids.setdefault(schema, len(self._ids) + 1)

    def lookup(self, subject: str, schema: str) -> int | None:
        """Id of that very schema under the subject; None when it is not registered there."""
        self._answer()
        return self._ids[schema] if schema in self._subjects.get(subject, ()) else None

    def by_id(self, schema_id: int) -> str | None:
        """The schema of an id; None when there is none."""
        self._answer()
        self.asked.append(schema_id)
        return next((schema for schema, known in self._ids.items() if known == schema_id), None)

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("The schema registry in memory does not answer.")


async def codec_in_memory(topics: Iterable[str] | None = None, catalog: Catalog | None = None) -> Codec:
    """A codec that needs no registry; by default for every topic that carries Avro."""
    catalog = catalog or Catalog.load()
    registered = [topic.name for topic in catalog.topics.values() if topic.subject is not None]
    return await Codec.connect(InMemoryRegistry.holding(catalog), catalog, topics or registered)
