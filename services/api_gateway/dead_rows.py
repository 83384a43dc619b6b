"""Rows of `dead_letters` as answers of the API, and as what a redrive needs. Pure."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from millrace.contracts.dead import Place
from millrace.contracts.dead_api import Changed, DeadLetter, DeadLetterView
from services.api_gateway.dead_commands import Letter

Row = Mapping[str, Any]


def _origin(row: Row) -> Place | None:
    if row["origin_topic"] is None:
        return None
    return Place(row["origin_topic"], row["origin_partition"], row["origin_offset"])


def _fields(row: Row) -> dict[str, object]:
    origin = _origin(row)
    return {
        **row,
        "place": str(Place(row["topic"], row["partition"], row["offset"])),
        "origin": None if origin is None else str(origin),
    }


def view(row: Row) -> DeadLetterView:
    """A letter without its message."""
    return DeadLetterView.model_validate(_fields(row))


def whole(row: Row, *, event: object = None, unreadable: str | None = None) -> DeadLetter:
    """A letter with its message, and with what that says or why it says nothing."""
    message = {name: b64encode(row[name]).decode() for name in ("key", "value")}
    return DeadLetter.model_validate({**_fields(row), **message, "event": event, "unreadable": unreadable})


def letter(row: Row) -> Letter:
    """What is needed to redrive it."""
    return Letter(
        id=row["id"],
        stage=row["stage"],
        origin=_origin(row),
        key=row["key"],
        value=row["value"],
        headers={name: b64decode(text) for name, text in row["headers"].items()},
        options=row["options"],
    )


def changed(row: Row, *, repeated: bool) -> Changed:
    """What was decided about a letter."""
    return Changed.model_validate({**row, "repeated": repeated})
