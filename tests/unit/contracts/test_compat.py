"""A breaking change does not get through."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from millrace.contracts import compat
from millrace.contracts.catalog import Catalog
from millrace.contracts.schemas import Example, SchemaSpec
from millrace.contracts.topics import SchemaRef

CATALOG = Catalog.load()
Fields = list[dict[str, Any]]


def _second_version(name: str, change: Callable[[Fields], object]) -> Catalog:
    """The catalogue with a v2 of one schema."""
    first = CATALOG.schema(name)
    schema = json.loads(first.text)
    change(schema["fields"])
    second = SchemaSpec(name, 2, json.dumps(schema), first.record)
    example = Example(SchemaRef(name=name, version=2), Path("v2.json"), _examples(name)[0].text)
    frozen = {**compat.freeze(CATALOG), str(second): compat.fingerprint(second)}
    return Catalog(CATALOG.topics, {**CATALOG.schemas, name: (first, second)}, (*CATALOG.examples, example), frozen)


def _examples(name: str) -> list[Example]:
    return [example for example in CATALOG.examples if example.schema.name == name]


def _retype(field: str, to: object) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        next(f for f in fields if f["name"] == field)["type"] = to

    return change


def test_the_released_contracts_are_sound() -> None:
    assert list(compat.problems(CATALOG)) == []


def test_a_new_field_with_a_default_is_compatible() -> None:
    catalog = _second_version("cost.alerts", lambda f: f.append({"name": "note", "type": "string", "default": ""}))
    assert [problem for problem in compat.problems(catalog) if "cannot read" in problem] == []


@pytest.mark.parametrize(
    ("change", "who_cannot"),
    [
        (lambda f: f.append({"name": "note", "type": "string"}), "v2 cannot read cost.alerts.v1"),
        (lambda f: f.pop(), "v1 cannot read cost.alerts.v2"),
        (_retype("percent", "string"), "v2 cannot read cost.alerts.v1"),
        # Widening reads the old, but the old cannot read it: FULL is both ways.
        (_retype("percent", "long"), "v1 cannot read cost.alerts.v2"),
    ],
    ids=["added without default", "removed", "retyped", "widened"],
)
def test_a_change_that_breaks_either_side_is_found(change: Callable[[Fields], object], who_cannot: str) -> None:
    found = list(compat.problems(_second_version("cost.alerts", change)))
    assert any(f"cost.alerts.{who_cannot}" in problem for problem in found), found


def test_a_frozen_schema_cannot_change_not_even_its_words() -> None:
    first = CATALOG.schema("cost.alerts")
    edited = replace(first, text=first.text.replace("Who pays.", "Who has to pay."))
    assert edited.text != first.text
    catalog = Catalog(
        CATALOG.topics, {**CATALOG.schemas, first.name: (edited,)}, CATALOG.examples, compat.freeze(CATALOG)
    )
    assert any("cost.alerts.v1 was changed after it was frozen" in problem for problem in compat.problems(catalog))
    assert compat.freeze(catalog) == compat.freeze(CATALOG), "freezing again would hide the change"


def test_a_schema_without_hash_or_without_example_is_not_released() -> None:
    frozen = {name: digest for name, digest in compat.freeze(CATALOG).items() if name != "cost.alerts.v1"}
    rest = tuple(example for example in CATALOG.examples if example.schema.name != "cost.alerts")
    found = list(compat.problems(Catalog(CATALOG.topics, CATALOG.schemas, rest, frozen)))
    assert found == [
        "cost.alerts.v1 is not frozen yet: run `millrace schemas freeze`.",
        "cost.alerts.v1 has no example.",
    ]


def test_an_example_that_does_not_fit_is_found() -> None:
    example = next(example for example in _examples("cost.alerts") if '"threshold"' in example.text)
    broken = replace(example, text=example.text.replace('"threshold"', '"gossip"'))
    found = list(
        compat.problems(Catalog(CATALOG.topics, CATALOG.schemas, (*CATALOG.examples, broken), CATALOG.frozen))
    )
    assert any(f"{example.file} does not fit its schema" in problem for problem in found)
