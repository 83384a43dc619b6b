"""Keeps the newest event of each share as a file, with aiokafka, fastavro and aiohttp.

    pip install aiokafka fastavro aiohttp
    python -m examples.consumers.python_aiokafka FOLDER [--end] [TOPIC …]

MILLRACE_KAFKA and MILLRACE_REGISTRY say where; GROUP is the consumer group. With --end it stops where the topics end.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import ssl
import struct
import sys
from pathlib import Path

import aiohttp
from aiokafka import AIOKafkaConsumer
from fastavro import parse_schema, schemaless_reader
from fastavro.types import Schema

from examples.consumers.keeping import TOPICS, Keeper, ce_id, security

FRAME = struct.Struct(">bI")  # a zero byte and the id of the schema that wrote; Avro follows


class Events:
    """Decodes values; asks the registry once for each schema."""

    def __init__(self, registry: str, http: aiohttp.ClientSession) -> None:
        self._registry = registry.rstrip("/")
        self._http = http
        self._schemas: dict[int, Schema] = {}

    async def read(self, value: bytes) -> dict[str, object]:
        """The event of a message."""
        magic, schema_id = FRAME.unpack_from(value)
        if magic != 0:
            raise ValueError("not in the Confluent wire format")
        if schema_id not in self._schemas:
            async with self._http.get(f"{self._registry}/schemas/ids/{schema_id}", raise_for_status=True) as answer:
                schema = (await answer.json(content_type=None))["schema"]
            self._schemas[schema_id] = parse_schema(json.loads(schema), named_schemas={})
        event = schemaless_reader(io.BytesIO(value[FRAME.size :]), self._schemas[schema_id], None)
        if not isinstance(event, dict):
            raise TypeError("not an event")
        return event


def settings() -> dict[str, object]:
    """Of the consumer. Unlike librdkafka, aiokafka has to be told to read committed."""
    secured = security()
    found: dict[str, object] = {
        "bootstrap_servers": os.environ["MILLRACE_KAFKA"].split(","),
        "group_id": os.environ.get("GROUP", "my-team"),
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        "security_protocol": secured.protocol,
    }
    if secured.tls:
        found["ssl_context"] = ssl.create_default_context(cafile=secured.ca)
    if secured.user:
        found["sasl_mechanism"] = "SCRAM-SHA-512"
        found |= {"sasl_plain_username": secured.user, "sasl_plain_password": secured.password}
    return found


async def read(folder: Path, topics: list[str], *, to_end: bool) -> None:
    """Read until the end, or for ever."""
    keeper = Keeper(folder)
    async with aiohttp.ClientSession() as http, AIOKafkaConsumer(*topics, **settings()) as consumer:
        events = Events(os.environ["MILLRACE_REGISTRY"], http)
        while True:
            batches = await consumer.getmany(timeout_ms=1000)
            for batch in batches.values():
                for message in batch:
                    event = None if message.value is None else await events.read(message.value)
                    print(keeper.take(message.topic, message.key, ce_id(message.headers), event), flush=True)
            if batches:
                await consumer.commit()  # of what is dealt with: who dies before reads it again
            if to_end and not batches and await _ended(consumer):
                return


async def _ended(consumer: AIOKafkaConsumer) -> bool:
    ends = await consumer.end_offsets(consumer.assignment())
    places = [(await consumer.position(partition), end) for partition, end in ends.items()]
    return bool(places) and all(position >= end for position, end in places)


def main(arguments: list[str]) -> None:
    """See the top."""
    folder, *topics = [word for word in arguments if word != "--end"]
    asyncio.run(read(Path(folder), topics or list(TOPICS), to_end="--end" in arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
