"""Confluent's wire format: a zero byte, the schema's id as four bytes big-endian, then Avro.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from __future__ import annotations

import asyncio
import io
import json
import struct
from collections.abc import Iterable, Mapping

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException
from fastavro.types import Schema
from pydantic import ValidationError

from millrace.contracts.catalog import Catalog
from millrace.contracts.events import Event
from millrace.contracts.registry import SchemaSource
from millrace.contracts.schemas import SchemaSpec
from millrace.errors import ConfigurationError, Poison

_FRAME = struct.Struct(">bI")
_MAGIC = 0

# Errors about a message are raised `from None`: their causes quote what it contains, and tracebacks reach logs.
#
# What fastavro is seen to raise for bytes that do not fit: short input, bad UTF-8, a union branch or a varint out of
# range, times beyond the calendar, a writer's schema that cannot be read as ours.
_UNREADABLE = (EOFError, ValueError, IndexError, OverflowError, TypeError, KeyError, SchemaResolutionError)


class Codec:
    """Turns events into messages and back, for the topics it was connected for."""

    def __init__(self, source: SchemaSource, catalog: Catalog, writer_ids: Mapping[str, int]) -> None:
        self._source = source
        self._catalog = catalog
        self._writer_ids = writer_ids
        self._writers: dict[int, Schema] = {}
        self._fetching = asyncio.Lock()

    @classmethod
    async def connect(cls, registry: SchemaSource, catalog: Catalog, topics: Iterable[str]) -> Codec:
        """Look up, once, the ids that messages to `topics` will be written with. Nothing is ever registered.

        :raises ConfigurationError: schemas are not registered, or a topic carries none.
        :raises Unavailable: the registry does not answer.
        """
        schemas = {topic: catalog.written_schema_for(topic) for topic in dict.fromkeys(topics)}
        ids: dict[str, int] = {}
        missing: list[str] = []
        for topic, schema in schemas.items():
            found = await asyncio.to_thread(registry.lookup, f"{topic}-value", schema.text)
            if found is None:
                missing.append(f"{schema} under {topic}-value")
            else:
                ids[topic] = found
        if missing:
            raise ConfigurationError(
                f"The schema registry lacks {', '.join(missing)}: run `millrace schemas register`."
            )
        return cls(registry, catalog, ids)

    def encode(self, topic: str, event: Event) -> bytes:
        """The event as a message of the topic; no I/O.

        :raises ConfigurationError: the codec was not connected for the topic.
        :raises TypeError: the record does not belong to the topic.
        :raises Poison: a value cannot be written (a number beyond 64 bits, text that is not Unicode), or the message
            would be larger than the topic takes.
        """
        schema_id = self._writer_ids.get(topic)
        if schema_id is None:
            raise ConfigurationError(f"The codec was not connected for {topic}.")
        schema = self._catalog.written_schema_for(topic)
        if type(event) is not schema.event_type:
            raise TypeError(f"{topic} carries {schema.event_type.__name__}, not {type(event).__name__}")
        message = io.BytesIO()
        message.write(_FRAME.pack(_MAGIC, schema_id))
        try:
            schemaless_writer(message, schema.parsed, event.model_dump(), disable_tuple_notation=True)
        except (ValueError, OverflowError, TypeError) as exc:
            raise Poison(f"This {schema} cannot be written as Avro ({type(exc).__name__}).") from None
        raw = message.getvalue()
        self._check_size(topic, raw)
        return raw

    async def decode(self, topic: str, raw: bytes) -> Event:
        """The event of a message. Asks the registry for schemas that it meets for the first time.

        What messages contain never shows in the errors.

        :raises ConfigurationError: the topic does not exist or carries no Avro.
        :raises Poison: the bytes can never be decoded; says why.
        :raises Unavailable: the registry does not answer, so nobody knows yet.
        """
        schema_id, reader = self._checked(topic, raw)
        writer = self._writers.get(schema_id) or await self._fetch(schema_id, reader)
        return _read(topic, raw, writer, reader)

    def decode_blocking(self, topic: str, raw: bytes) -> Event:
        """As `decode`, for a thread that may wait for the registry."""
        schema_id, reader = self._checked(topic, raw)
        return _read(topic, raw, self._writers.get(schema_id) or self._ask(schema_id, reader), reader)

    def _checked(self, topic: str, raw: bytes) -> tuple[int, SchemaSpec]:
        reader = self._catalog.schema_for(topic)
        self._check_size(topic, raw)
        return _schema_id(topic, raw), reader

    async def _fetch(self, schema_id: int, reader: SchemaSpec) -> Schema:
        async with self._fetching:
            if schema_id in self._writers:
                return self._writers[schema_id]
            return await asyncio.to_thread(self._ask, schema_id, reader)

    def _ask(self, schema_id: int, reader: SchemaSpec) -> Schema:
        text = self._source.by_id(schema_id)
        if text is None:
            # Not remembered: somebody may register it, and then a replay of the dead letters must work.
            raise Poison(f"The schema registry does not know the schema id {schema_id}.")
        try:
            parsed = parse_schema(json.loads(text), named_schemas={})
        except (ValueError, SchemaParseException) as exc:
            raise Poison(f"The schema with id {schema_id} is not Avro.") from exc
        # The very same object tells `_read` that nothing has to be resolved, which takes a third of the time.
        writer = reader.parsed if parsed == reader.parsed else parsed
        self._writers[schema_id] = writer
        return writer

    def _check_size(self, topic: str, raw: bytes) -> None:
        """Refuse what the topic would not take: a compressed batch can unpack to far more than the broker's limit."""
        limit = self._catalog.topic(topic).max_message_bytes
        if len(raw) > limit:
            raise Poison(f"A message of {len(raw)} bytes is larger than {topic} takes ({limit} bytes).")


def _schema_id(topic: str, raw: bytes) -> int:
    if len(raw) < _FRAME.size:
        raise Poison(f"A message of {len(raw)} bytes on {topic} is too short for a schema id.")
    magic, schema_id = _FRAME.unpack_from(raw)
    if magic != _MAGIC:
        raise Poison(f"A message on {topic} does not begin with the zero byte of the Confluent wire format.")
    return int(schema_id)


def _read(topic: str, raw: bytes, writer: Schema, reader: SchemaSpec) -> Event:
    stream = io.BytesIO(raw)
    stream.seek(_FRAME.size)
    try:
        values = schemaless_reader(stream, writer, None if writer is reader.parsed else reader.parsed)
    except _UNREADABLE as exc:
        raise Poison(f"A message on {topic} cannot be read as {reader} ({type(exc).__name__}).") from None
    left = len(raw) - stream.tell()
    if left:
        raise Poison(f"A message on {topic} has {left} bytes behind its {reader}.")
    try:
        return reader.event_type.model_validate(values)
    except ValidationError as exc:
        wrong = sorted(
            {f"{error['loc'][0] if error['loc'] else 'record'}: {error['type']}" for error in exc.errors()}
        )
        raise Poison(f"A message on {topic} is not a valid {reader} ({', '.join(wrong)}).") from None
