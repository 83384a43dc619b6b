"""Folders of contracts: ours, and those of stages that are not Millrace's own, read as one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from fastavro import parse_schema
from pydantic import ValidationError

import millrace
from millrace.contracts.events import Event, StageName
from millrace.contracts.schemas import Example, SchemaSpec
from millrace.contracts.stages import STAGE_NAME, StageEntry, stage_topics
from millrace.contracts.topics import SchemaRef, TopicSpec
from millrace.errors import ConfigurationError

_SCHEMA_FILE = re.compile(r"(?P<name>[a-z0-9.]+)\.v(?P<version>[1-9][0-9]*)\.avsc")
_PACKAGE = Path(millrace.__file__).parent

CONTRACTS_VARIABLE = "MILLRACE_CONTRACTS"
"""Names folders like `schemas`, separated as in PATH, whose contracts come beside our own. All services of an
installation need the same ones.
"""


@dataclass
class Contents:
    """What the folders say together; for the fields see `Catalog`."""

    topics: dict[str, TopicSpec] = field(default_factory=dict)
    schemas: dict[str, tuple[SchemaSpec, ...]] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    frozen: dict[str, str] = field(default_factory=dict)
    stages: dict[StageName, StageEntry] = field(default_factory=dict)


def schemas_root() -> Path:
    """The `schemas` folder: inside an installed package, else beside it in a checkout.

    :raises ConfigurationError: there is neither.
    """
    for folder in (_PACKAGE / "_schemas", _PACKAGE.parent / "schemas"):
        if (folder / "topics.yaml").is_file():
            return folder
    raise ConfigurationError("This installation of Millrace has no schemas; install it again.")


def contracts_folders() -> tuple[Path, ...]:
    """The folders that MILLRACE_CONTRACTS names."""
    return tuple(Path(name) for name in os.environ.get(CONTRACTS_VARIABLE, "").split(os.pathsep) if name)


def read(folders: Sequence[Path], records: Mapping[str, type[Event]]) -> Contents:
    """What stands in several folders, together; the first one has the defaults and the topics that stages have.

    :raises ValueError: a folder cannot be read, or two of them say something about the same; so do `OSError`,
        `KeyError`, `TypeError`, and the errors of YAML and Avro.
    """
    contents = Contents()
    base = _document(folders[0])
    for folder in folders:
        document = _document(folder)
        stages = _stages(document.get("stages", {}))
        entries = dict(document.get("topics", {}))
        for stage, entry in stages.items():
            entries.update(stage_topics(stage, entry, base["stage_topics"]))
        topics = _topics(entries, base["defaults"])
        schemas = _schemas(folder / "avro", records)
        twice = (contents.topics.keys() & topics) | (contents.schemas.keys() & schemas)
        if twice or (twice := contents.stages.keys() & stages):
            raise ValueError(f"{folder} says again what {', '.join(sorted(twice))} is")
        contents.stages |= stages
        contents.topics |= topics
        contents.schemas |= schemas
        contents.examples += tuple(_examples(folder / "examples"))
        frozen = folder / "frozen.json"
        contents.frozen |= json.loads(frozen.read_text()) if frozen.exists() else {}
    return contents


def _document(folder: Path) -> dict[str, dict[str, dict[str, object]]]:
    document: dict[str, dict[str, dict[str, object]]] = yaml.safe_load((folder / "topics.yaml").read_text())
    return document


def _stages(entries: Mapping[str, object]) -> dict[StageName, StageEntry]:
    stages = {}
    for name, entry in entries.items():
        try:
            stages[STAGE_NAME.validate_python(name)] = StageEntry.model_validate(entry)
        except ValidationError as exc:
            raise ValueError(f"stage {name}: {_said(exc)}") from exc
    return stages


def _topics(entries: Mapping[str, Mapping[str, object]], defaults: Mapping[str, object]) -> dict[str, TopicSpec]:
    topics = {}
    for name, entry in entries.items():
        try:
            topics[name] = TopicSpec.model_validate({**defaults, **entry, "name": name})
        except ValidationError as exc:
            raise ValueError(f"topic {name}: {_said(exc)}") from exc
    return topics


def _said(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'name'}: {e['msg']}" for e in error.errors())


def _schemas(folder: Path, records: Mapping[str, type[Event]]) -> dict[str, tuple[SchemaSpec, ...]]:
    schemas: dict[str, list[SchemaSpec]] = {}
    for file in sorted(folder.iterdir()):
        named = _SCHEMA_FILE.fullmatch(file.name)
        if named is None:
            raise ValueError(f"{file.name} is not named <schema>.v<N>.avsc")
        name, text = (
            named["name"],
            json.dumps(json.loads(file.read_text()), separators=(",", ":"), ensure_ascii=False),
        )
        spec = SchemaSpec(name, int(named["version"]), text, records.get(name))
        parse_schema(json.loads(text), named_schemas={})
        schemas.setdefault(spec.name, []).append(spec)
    return {name: tuple(sorted(specs, key=lambda s: s.version)) for name, specs in schemas.items()}


def _examples(folder: Path) -> tuple[Example, ...]:
    examples = []
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        schema = SchemaRef.model_validate(f"{file.parent.parent.name}.{file.parent.name}")
        examples.append(Example(schema, file.relative_to(folder), file.read_text()))
    return tuple(examples)
