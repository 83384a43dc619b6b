"""The catalogue: every topic, schema and golden example of `schemas/`, read once and checked as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from fastavro import parse_schema
from fastavro.schema import SchemaParseException
from fastavro.types import Schema
from pydantic import ValidationError

import millrace
from millrace.contracts.events import EVENT_TYPES, Event
from millrace.contracts.topics import SchemaRef, TopicSpec
from millrace.errors import ConfigurationError

_SCHEMA_FILE = re.compile(r"(?P<name>[a-z0-9.]+)\.v(?P<version>[1-9][0-9]*)\.avsc")
_PACKAGE = Path(millrace.__file__).parent


@dataclass(frozen=True)
class SchemaSpec:
    """One version of an Avro schema; `text` is its JSON without white space, as the registry gets it."""

    name: str
    version: int
    text: str

    def __str__(self) -> str:
        return f"{self.name}.v{self.version}"

    @cached_property
    def parsed(self) -> Schema:
        """As fastavro wants it; names are resolved within this schema alone."""
        return parse_schema(json.loads(self.text), named_schemas={})

    @property
    def event_type(self) -> type[Event]:
        """The record that its messages become."""
        return EVENT_TYPES[self.name]


@dataclass(frozen=True)
class Example:
    """A golden example: `text` is a record as JSON (ISO 8601 times, base64 bytes)."""

    schema: SchemaRef
    file: Path
    text: str


class Catalog:
    """All contracts of one release. Immutable; make it with `load`."""

    def __init__(
        self,
        topics: Mapping[str, TopicSpec],
        schemas: Mapping[str, tuple[SchemaSpec, ...]],
        examples: tuple[Example, ...] = (),
        frozen: Mapping[str, str] | None = None,
    ) -> None:
        self.topics = topics
        self.schemas = schemas
        self.examples = examples
        self.frozen: Mapping[str, str] = frozen or {}

    @classmethod
    def load(cls, root: Path | None = None) -> Catalog:
        """Read a `schemas` folder; by default the one packaged with Millrace, or that of the checkout.

        :raises ConfigurationError: with everything that is wrong in it.
        """
        root = root or schemas_root()
        try:
            catalog = cls(
                _read_topics(root / "topics.yaml"),
                _read_schemas(root / "avro"),
                _read_examples(root / "examples"),
                json.loads((root / "frozen.json").read_text()) if (root / "frozen.json").exists() else {},
            )
        except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, SchemaParseException) as exc:
            raise ConfigurationError(f"The contracts in {root} cannot be read: {exc}") from exc
        problems = list(catalog.problems())
        if problems:
            raise ConfigurationError(f"The contracts in {root} are not sound: {'; '.join(problems)}.")
        return catalog

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
        """What does not fit together: missing schemas, orphans, gaps between versions, schemas without a record."""
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
            if name not in EVENT_TYPES:
                yield f"no record in millrace.contracts.events belongs to the schema {name}"
        for example in self.examples:
            if str(example.schema) not in existing:
                yield f"the example {example.file} belongs to no schema"


def schemas_root() -> Path:
    """The `schemas` folder: inside an installed package, else beside it in a checkout.

    :raises ConfigurationError: there is neither.
    """
    for folder in (_PACKAGE / "_schemas", _PACKAGE.parent / "schemas"):
        if (folder / "topics.yaml").is_file():
            return folder
    raise ConfigurationError("This installation of Millrace has no schemas; install it again.")


def _read_topics(file: Path) -> dict[str, TopicSpec]:
    document = yaml.safe_load(file.read_text())
    topics = {}
    for name, entry in document["topics"].items():
        try:
            topics[name] = TopicSpec.model_validate({**document["defaults"], **entry, "name": name})
        except ValidationError as exc:
            what = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'name'}: {e['msg']}" for e in exc.errors())
            raise ValueError(f"topic {name}: {what}") from exc
    return topics


def _read_schemas(folder: Path) -> dict[str, tuple[SchemaSpec, ...]]:
    schemas: dict[str, list[SchemaSpec]] = {}
    for file in sorted(folder.iterdir()):
        named = _SCHEMA_FILE.fullmatch(file.name)
        if named is None:
            raise ValueError(f"{file.name} is not named <schema>.v<N>.avsc")
        text = json.dumps(json.loads(file.read_text()), separators=(",", ":"), ensure_ascii=False)
        spec = SchemaSpec(named["name"], int(named["version"]), text)
        parse_schema(json.loads(text), named_schemas={})
        schemas.setdefault(spec.name, []).append(spec)
    return {name: tuple(sorted(specs, key=lambda s: s.version)) for name, specs in schemas.items()}


def _read_examples(folder: Path) -> tuple[Example, ...]:
    examples = []
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        schema = SchemaRef.model_validate(f"{file.parent.parent.name}.{file.parent.name}")
        examples.append(Example(schema, file.relative_to(folder), file.read_text()))
    return tuple(examples)
