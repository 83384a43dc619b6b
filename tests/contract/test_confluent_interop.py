"""Confluent's own Avro clients, which know nothing of this project's code, read what it writes, and the reverse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from millrace.contracts.catalog import Catalog
from millrace.contracts.events import Event
from millrace.contracts.provision import register_schemas
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.embedded.readyfile import Addresses

CATALOG = Catalog.load()
TOPICS = [topic.name for topic in CATALOG.topics.values() if topic.subject is not None]


@pytest.fixture(scope="module")
def registry_url(stack: Addresses) -> str:
    register_schemas(stack.registry, CATALOG, report=lambda _: None)
    return stack.registry


@pytest.fixture(scope="module")
def confluent(registry_url: str) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": registry_url}) as client:
        yield client


@pytest.fixture(scope="module")
async def codec(registry_url: str) -> AsyncIterator[Codec]:
    with Registry(registry_url) as registry:
        yield await Codec.connect(registry, CATALOG, TOPICS)


def _golden(topic: str) -> list[Event]:
    schema = CATALOG.schema_for(topic)
    return [
        schema.event_type.model_validate_json(example.text)
        for example in CATALOG.examples
        if example.schema.name == schema.name
    ]


@pytest.mark.parametrize("topic", TOPICS)
async def test_confluents_deserializer_reads_what_we_write(
    codec: Codec, confluent: SchemaRegistryClient, topic: str
) -> None:
    deserialize = AvroDeserializer(confluent)
    for event in _golden(topic):
        read = deserialize(codec.encode(topic, event), SerializationContext(topic, MessageField.VALUE))
        assert read == event.model_dump()


@pytest.mark.parametrize("topic", TOPICS)
async def test_we_read_what_confluents_serializer_writes(
    codec: Codec, confluent: SchemaRegistryClient, topic: str
) -> None:
    serialize = AvroSerializer(confluent, CATALOG.schema_for(topic).text, conf={"auto.register.schemas": False})
    for event in _golden(topic):
        raw = serialize(event.model_dump(), SerializationContext(topic, MessageField.VALUE))
        assert raw == codec.encode(topic, event), "the same schema id and the same bytes"
        assert await codec.decode(topic, raw) == event
