"""The catalogue: every topic, stage, schema and golden example of `schemas/`, read once and checked as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from fastavro.schema import SchemaParseException

from millrace.contracts.events import EVENT_TYPES, Event, StageName
from millrace.contracts.folders import contracts_folders, read, schemas_root
from millrace.contracts.schemas import Example, SchemaSpec
from millrace.contracts.stages import SEARCH_SCOPE, TOTAL_SCOPE, StageEntry, dead_topic
from millrace.contracts.topics import SchemaRef, TopicSpec
from millrace.errors import ConfigurationError


class Catalog:
    """All contracts of one release. Immutable; make it with `load`."""

    def __init__(
        self,
        topics: Mapping[str, TopicSpec],
        schemas: Mapping[str, tuple[SchemaSpec, ...]],
        examples: tuple[Example, ...] = (),
        frozen: Mapping[str, str] | None = None,
        stages: Mapping[StageName, StageEntry] | None = None,
    ) -> None:
        self.topics = topics
        self.schemas = schemas
        self.examples = examples
        self.frozen: Mapping[str, str] = frozen or {}
        self.stages: Mapping[StageName, StageEntry] = stages or {}
        """In the order in which a share goes through them."""

    @classmethod
    def load(
        cls,
        root: Path | None = None,
        *,
        more: Sequence[Path] | None = None,
        records: Mapping[str, type[Event]] | None = None,
    ) -> Catalog:
        """Read the `schemas` folder, and those that add to it.

        :param root: by default the one packaged with Millrace, or that of the checkout.
        :param more: further folders; by default those that MILLRACE_CONTRACTS names.
        :param records: what messages become, by schema name, for schemas that are not Millrace's own.
        :raises ConfigurationError: with everything that is wrong in them.
        """
        folders = (root or schemas_root(), *(contracts_folders() if more is None else more))
        where = " and ".join(map(str, folders))
        try:
            catalog = cls(**vars(read(folders, {**EVENT_TYPES, **(records or {})})))
        except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, SchemaParseException) as exc:
            raise ConfigurationError(f"The contracts in {where} cannot be read: {exc}") from exc
        problems = list(catalog.problems())
        if problems:
            raise ConfigurationError(f"The contracts in {where} are not sound: {'; '.join(problems)}.")
        return catalog

    @property
    def scopes(self) -> tuple[str, ...]:
        """What a budget can be about: stages that spend, queries, and all of an account together."""
        return (*(stage for stage, entry in self.stages.items() if entry.spends), SEARCH_SCOPE, TOTAL_SCOPE)

    def place_of(self, stage: StageName) -> int:
        """Where a stage stands in the order of stages; behind all of them when it is none of these."""
        return list(self.stages).index(stage) if stage in self.stages else len(self.stages)

    def later(self, stage: StageName) -> list[StageName]:
        """A stage and those after it."""
        return list(self.stages)[self.place_of(stage) :]

    @property
    def dead_topics(self) -> tuple[str, ...]:
        """The topics of dead letters."""
        return tuple(map(dead_topic, self.stages))

    def topic(self, name: str) -> TopicSpec:
        """The topic of that name.

        :raises ConfigurationError: there is none.
        """
        try:
            return self.topics[name]
        except KeyError:
            raise ConfigurationError(f"{name} is not a topic of schemas/topics.yaml.") from None

    def schema_for(self, topic: str, version: int | None = None) -> SchemaSpec:
        """The schema of a topic's values in one version; by default the newest, which is what readers read with.

        :raises ConfigurationError: the topic, its schema or that version does not exist.
        """
        ref = self.topic(topic).schema_ref
        if not isinstance(ref, SchemaRef):
            raise ConfigurationError(f"{topic} carries no Avro schema (schemas/topics.yaml says {ref}).")
        return self.schema(ref.name, version)

    def written_schema_for(self, topic: str) -> SchemaSpec:
        """The schema that producers write the topic with: the version that topics.yaml names.

        :raises ConfigurationError: the topic does not exist or has no schema.
        """
        ref = self.topic(topic).schema_ref
        return self.schema_for(topic, ref.version if isinstance(ref, SchemaRef) else None)

    def schema(self, name: str, version: int | None = None) -> SchemaSpec:
        """A schema by name and version; by default the newest.

        :raises ConfigurationError: there is none.
        """
        for spec in reversed(self.schemas.get(name, ())):
            if version in (None, spec.version):
                return spec
        raise ConfigurationError(f"There is no schemas/avro/{name}.v{version or 1}.avsc.")

    def subjects(self) -> dict[str, tuple[SchemaSpec, ...]]:
        """Every subject of the registry with the versions it should hold, oldest first."""
        return {
            topic.subject: self.schemas[topic.schema_ref.name]
            for topic in self.topics.values()
            if topic.subject is not None and isinstance(topic.schema_ref, SchemaRef)
        }

    @property
    def max_message_bytes(self) -> int:
        """Largest message of all topics: what producers must allow (`max_request_size`)."""
        return max(topic.max_message_bytes for topic in self.topics.values())

    def problems(self) -> Iterator[str]:
        """What does not fit together: missing schemas, orphans, gaps between versions, records without a schema."""
        used = {str(t.schema_ref) for t in self.topics.values() if isinstance(t.schema_ref, SchemaRef)}
        existing = {str(spec) for versions in self.schemas.values() for spec in versions}
        for name in sorted(used - existing):
            yield f"topics.yaml names {name}, but there is no avro/{name}.avsc"
        used_names = {ref.rpartition(".v")[0] for ref in used}
        for name, versions in sorted(self.schemas.items()):
            if name not in used_names:
                yield f"no topic carries the schema {name}"
            if [spec.version for spec in versions] != list(range(1, len(versions) + 1)):
                yield f"the versions of {name} are not 1, 2, 3 and so on"
        for name in sorted(EVENT_TYPES.keys() - self.schemas.keys()):
            yield f"no schema belongs to the record {EVENT_TYPES[name].__name__}"
        for stage, entry in self.stages.items():
            for name in (*entry.reads, entry.writes):
                if name not in self.topics:
                    yield f"the stage {stage} names the topic {name}, which there is not"
        for example in self.examples:
            if str(example.schema) not in existing:
                yield f"the example {example.file} belongs to no schema"
