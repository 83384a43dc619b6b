"""Whether the contracts may be released: compatible, unchanged since they were frozen, examples readable. Offline.

FULL compatibility of two versions: each can read what the other wrote. FULL_TRANSITIVE: every pair of versions.
The rules are Avro's own (https://avro.apache.org/docs/1.12.0/specification/#schema-resolution), applied by Apache's
library; `schemas/frozen.json` holds the SHA-256 of every version that was frozen.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import permutations

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse
from fastavro import schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError

from millrace import ids
from millrace.contracts.catalog import Catalog
from millrace.contracts.schemas import Example, SchemaSpec


def problems(catalog: Catalog) -> Iterator[str]:
    """All that speaks against releasing the catalogue, one sentence each."""
    for versions in catalog.schemas.values():
        for reader, writer in permutations(versions, 2):
            yield from (f"{reader} cannot read {writer}: {reason}." for reason in unreadable(reader, writer))
    yield from _frozen_problems(catalog)
    yield from _example_problems(catalog)


def unreadable(reader: SchemaSpec, writer: SchemaSpec) -> list[str]:
    """Why a reader cannot read what was written with another version; empty when it can."""
    result = ReaderWriterCompatibilityChecker().get_compatibility(parse(reader.text), parse(writer.text))
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    kinds = sorted({kind.value.replace("_", " ") for kind in result.incompatibilities})
    where = f" at {', '.join(sorted(result.locations))}" if result.locations else ""
    return [f"{', '.join(kinds)} ({', '.join(sorted(result.messages))}){where}"]


def fingerprint(schema: SchemaSpec) -> str:
    """What frozen.json holds: SHA-256 of the schema's JSON, docs included, white space not."""
    return ids.content_hash(schema.text)


def freeze(catalog: Catalog) -> dict[str, str]:
    """Contents of frozen.json once the versions that are new are frozen too; frozen ones stay as they are."""
    every = (schema for versions in catalog.schemas.values() for schema in versions)
    new = {str(schema): fingerprint(schema) for schema in every}
    return dict(sorted((new | dict(catalog.frozen)).items()))


def read_example(example: Example, catalog: Catalog) -> tuple[object, object]:
    """The example as a record, and the same once written in its own version and read with the newest.

    :raises ValueError: it is no record, or cannot be written.
    :raises SchemaResolutionError: the newest version cannot read it.
    """
    newest = catalog.schema(example.schema.name)
    record = newest.event_type.model_validate_json(example.text)
    wire = io.BytesIO()
    written = catalog.schema(example.schema.name, example.schema.version)
    schemaless_writer(wire, written.parsed, record.model_dump())
    wire.seek(0)
    return record, newest.event_type.model_validate(schemaless_reader(wire, written.parsed, newest.parsed))


def _frozen_problems(catalog: Catalog) -> Iterator[str]:
    existing = {str(schema): schema for versions in catalog.schemas.values() for schema in versions}
    for name, schema in existing.items():
        if name not in catalog.frozen:
            yield f"{name} is not frozen yet: run `millrace schemas freeze`."
        elif catalog.frozen[name] != fingerprint(schema):
            yield f"{name} was changed after it was frozen: put the change into a new version, v{schema.version + 1}."
    for name in sorted(set(catalog.frozen) - set(existing)):
        yield f"{name} is frozen but its file is gone: messages written with it could no longer be checked."


def _example_problems(catalog: Catalog) -> Iterator[str]:
    with_example = {str(example.schema) for example in catalog.examples}
    for versions in catalog.schemas.values():
        yield from (f"{schema} has no example." for schema in versions if str(schema) not in with_example)
    for example in catalog.examples:
        try:
            record, read = read_example(example, catalog)
        except (SchemaResolutionError, ValueError, TypeError, KeyError) as exc:
            yield f"The example {example.file} does not fit its schema: {str(exc).splitlines()[0]}."
            continue
        if record != read:
            yield f"The example {example.file} reads differently from how it was written."
