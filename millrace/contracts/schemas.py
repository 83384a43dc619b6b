"""An Avro schema in one version, and a golden example of what is written with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fastavro import parse_schema
from fastavro.types import Schema

from millrace.contracts.events import Event
from millrace.contracts.topics import SchemaRef
from millrace.errors import ConfigurationError


@dataclass(frozen=True)
class SchemaSpec:
    """One version of an Avro schema; `text` is its JSON without white space, as the registry gets it."""

    name: str
    version: int
    text: str
    record: type[Event] | None = None
    """What its messages become; None where this program has none for them."""

    def __str__(self) -> str:
        return f"{self.name}.v{self.version}"

    @cached_property
    def parsed(self) -> Schema:
        """As fastavro wants it; names are resolved within this schema alone."""
        return parse_schema(json.loads(self.text), named_schemas={})

    @property
    def event_type(self) -> type[Event]:
        """The record that its messages become.

        :raises ConfigurationError: this program has none.
        """
        if self.record is None:
            raise ConfigurationError(f"This program has no record for {self}: give it to Catalog.load.")
        return self.record


@dataclass(frozen=True)
class Example:
    """A golden example: `text` is a record as JSON (ISO 8601 times, base64 bytes)."""

    schema: SchemaRef
    file: Path
    text: str
