"""Reads what a language model answers into the form that was asked for; mends JSON that is nearly right. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, TypeVar

import json_repair
from pydantic import BaseModel, ValidationError

from millrace.models.question import SHOWN, ChatAnswer
from millrace.text import storable

F = TypeVar("F", bound=BaseModel)

_LONGEST: Final = 100_000  # characters; far more than any `max_tokens`, far less than an event can carry
# Mending takes time with the square of the length, and with every level: what is longer is asked for again.
_LONGEST_MENDED: Final = 6000
_MOST_BRACKETS: Final = 20
_MOST_PROBLEMS: Final = 3
_NEVER_BEGUN: Final = "it was cut off before it began: MILLRACE_LLM_MAX_TOKENS is too low"
_CUT_OFF: Final = "it was cut off, because it was too long: write less"
# As JSON writes it: behind an even number of backslashes, or else these are the text's own.
_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def read(
    content: object, form: type[F], properties: Collection[str], *, cut_off: bool = False, closed: bool = False
) -> ChatAnswer[F]:
    """The answer, or what is wrong with it; tokens are the caller's to add.

    JSON may stand between fences or sentences, and has to have every property. JSON with errors is mended; one that
    was cut off is not, because it would say half a sentence.

    :param properties: those that were asked for.
    :param cut_off: the model had more to say than it may.
    :param closed: the API closes JSON that was cut off, so that its being whole says nothing.
    """
    if not isinstance(content, str) or not content.strip():
        return _wrong("", _NEVER_BEGUN if cut_off else "it was empty")
    if len(content) > _LONGEST or (cut_off and closed):
        return _wrong(content, _CUT_OFF if cut_off else "it was far too long")
    found = content[content.find("{") : content.rfind("}") + 1]
    try:
        value = form.model_validate_json(found)
    except ValidationError as exc:
        if cut_off:
            return _wrong(content, _CUT_OFF)
        if exc.errors()[0]["type"] != "json_invalid":
            return _wrong(content, _said(exc, form))
        return _mended(content, found, form, properties)
    return _kept(content, value, properties)


def _mended(content: str, found: str, form: type[F], properties: Collection[str]) -> ChatAnswer[F]:
    if not found:
        return _wrong(content, "it held no JSON object")
    mended = _object(found)
    if mended is None:
        return _wrong(content, "its JSON could not be read")
    if missing := [name for name in properties if name not in mended]:
        return _wrong(content, f"its JSON was not valid, and had no {', '.join(missing)}")
    try:
        return _kept(content, form.model_validate(mended), properties)
    except ValidationError as exc:
        return _wrong(content, _said(exc, form))


def _object(found: str) -> dict[str, object] | None:
    """What JSON with errors probably means; None when that takes too long to find out, or is no object."""
    if len(found) > _LONGEST_MENDED or found.count("{") + found.count("[") > _MOST_BRACKETS:
        return None
    try:
        mended = json_repair.loads(found, skip_json_loads=True)
    except Exception:  # noqa: BLE001 - whatever it stumbles over, the answer has been paid for, and its cost is known
        return None
    return mended if isinstance(mended, dict) else None


def _kept(content: str, value: F, properties: Collection[str]) -> ChatAnswer[F]:
    if missing := [name for name in properties if name not in value.model_fields_set]:
        return _wrong(content, f"it had no {', '.join(missing)}")
    if _NUL.search(value.model_dump_json()):  # PostgreSQL keeps no NUL
        return _wrong(content, "it held a NUL character")
    return ChatAnswer(value=value)


def _wrong(content: str, problem: str) -> ChatAnswer[F]:
    return ChatAnswer(said=storable(content, SHOWN), problem=problem)


def _said(error: ValidationError, form: type[BaseModel]) -> str:
    """What is wrong where, in no word of the answer: these go into the instructions of the next try."""
    return "; ".join(
        f"{next((name for name in one['loc'][:1] if name in form.model_fields), 'the JSON object')}: {one['type']}"
        for one in error.errors()[:_MOST_PROBLEMS]
    )
