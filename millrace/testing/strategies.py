"""Hypothesis strategies for event records; needs hypothesis, which Millrace itself does not."""

from __future__ import annotations

import types
from datetime import UTC
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic import AwareDatetime

from millrace.contracts.events import Event

# Avro keeps milliseconds; finer times would not come back as they were.
_MOMENTS = st.datetimes(timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)

_SCALARS: dict[object, st.SearchStrategy[Any]] = {
    str: st.text(max_size=40),
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bytes: st.binary(max_size=40),
    AwareDatetime: _MOMENTS,
    types.NoneType: st.none(),
}


def events(record: type[Event]) -> st.SearchStrategy[Event]:
    """Any record of that type that Avro can carry; optional fields are sometimes left out."""
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in record.model_fields.items():
        pattern = next((one.pattern for one in field.metadata if getattr(one, "pattern", None)), None)
        if pattern is not None:
            (required if field.is_required() else optional)[name] = st.from_regex(pattern, fullmatch=True)
            continue
        bounded = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        (required if field.is_required() else optional)[name] = _values(bounded)
    return st.fixed_dictionaries(required, optional=optional).map(record.model_validate)


def _values(annotation: object) -> st.SearchStrategy[Any]:
    """Values of a field's type, for the types that events are made of."""
    if isinstance(annotation, NewType):
        return _values(annotation.__supertype__)
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Event):
        return events(annotation)
    return _combined(get_origin(annotation), get_args(annotation))


def _combined(origin: object, arguments: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is Annotated:
        bounded: Any = Annotated[arguments]
        return st.from_type(bounded)
    parts = [_values(argument) for argument in arguments]
    if origin is list:
        return st.lists(*parts, max_size=3)
    if origin is dict:
        return st.dictionaries(*parts, max_size=3)
    if origin in (Union, types.UnionType):
        return st.one_of(parts)
    raise NotImplementedError(f"no strategy for {origin}")
