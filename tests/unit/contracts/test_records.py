"""Records say exactly what schemas say."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from millrace.contracts import compat
from millrace.contracts.catalog import Catalog
from millrace.contracts.events import EVENT_TYPES, Event, Segment, Word
from millrace.contracts.schemas import Example

CATALOG = Catalog.load()
NESTED: dict[str, type[Event]] = {"Segment": Segment, "Word": Word}


def _records(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every record of a schema by its name, itself and those inside."""
    found: dict[str, dict[str, Any]] = {}

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if node.get("type") == "record":
                found[node["name"]] = node
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(schema)
    return found


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_fields_optionality_and_defaults_are_those_of_the_schema(name: str) -> None:
    for record_name, schema in _records(json.loads(CATALOG.schema(name).text)).items():
        record = NESTED.get(record_name, EVENT_TYPES[name])
        assert record.__name__ == record_name
        fields = {field["name"]: field for field in schema["fields"]}
        assert fields.keys() == record.model_fields.keys()
        for field_name, field in fields.items():
            model_field = record.model_fields[field_name]
            assert ("default" not in field) == model_field.is_required(), field_name
            if "default" in field:
                assert model_field.get_default() == field["default"], field_name
            nullable = isinstance(field["type"], list) and "null" in field["type"]
            assert nullable == (type(None) in get_args(model_field.annotation)), field_name
            bounded = any(getattr(bound, "lt", None) == 2**31 for bound in model_field.metadata)
            assert (field["type"] == "int") == bounded, f"{field_name}: an Avro int is an Int32"


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_every_field_is_documented_and_no_money_is_a_fraction(name: str) -> None:
    for schema in _records(json.loads(CATALOG.schema(name).text)).values():
        for field in schema["fields"]:
            assert field.get("doc"), field["name"]
            if field["name"].endswith("_micro_usd"):
                assert "long" in (field["type"], *field["type"]), field["name"]


@pytest.mark.parametrize("example", CATALOG.examples, ids=lambda e: str(e.file))
def test_a_golden_example_is_written_and_read_as_it_was(example: Example) -> None:
    record, read = compat.read_example(example, CATALOG)
    assert read == record


def test_every_schema_has_a_minimal_and_a_full_example() -> None:
    for name, record in EVENT_TYPES.items():
        keys = [set(json.loads(e.text)) for e in CATALOG.examples if e.schema.name == name]
        required = {field for field, info in record.model_fields.items() if info.is_required()}
        assert any(required <= given and len(given) <= len(required) + 1 for given in keys), (
            f"{name}: none is minimal"
        )
        assert set(record.model_fields) in keys, f"{name}: none is full"
