"""Keeps the newest event of each share as a file, with confluent-kafka.

    pip install 'confluent-kafka[avro,schemaregistry]'
    python -m examples.consumers.python_confluent FOLDER [--end] [TOPIC …]

MILLRACE_KAFKA and MILLRACE_REGISTRY say where; GROUP is the consumer group. With --end it stops where the topics end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from examples.consumers.keeping import TOPICS, Keeper, ce_id, security


def settings() -> dict[str, str | bool]:
    """Of the consumer. librdkafka reads committed by itself."""
    secured = security()
    found: dict[str, str | bool] = {
        "bootstrap.servers": os.environ["MILLRACE_KAFKA"],
        "group.id": os.environ.get("GROUP", "my-team"),
        "auto.offset.reset": "earliest",
        # An offset is committed only once its message is dealt with: who dies before reads it again.
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "security.protocol": secured.protocol,
    }
    if secured.ca:
        found["ssl.ca.location"] = secured.ca
    if secured.user:
        found["sasl.mechanism"] = "SCRAM-SHA-512"
        found |= {"sasl.username": secured.user, "sasl.password": secured.password}
    return found


def read(folder: Path, topics: list[str], *, to_end: bool) -> None:
    """Read until the end, or for ever."""
    keeper = Keeper(folder)
    registry = SchemaRegistryClient({"url": os.environ["MILLRACE_REGISTRY"]})
    deserialize = AvroDeserializer(registry)  # reads with the schema that wrote, whichever version that is
    consumer = Consumer(settings())
    consumer.subscribe(topics)
    ended: set[tuple[str | None, int | None]] = set()
    try:
        while not (to_end and ended and len(ended) == len(consumer.assignment())):
            message = consumer.poll(1.0)
            if message is None:
                continue
            topic, place = message.topic() or "", (message.topic(), message.partition())
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                ended.add(place)
                continue
            ended.discard(place)
            raw = message.value()
            event = None if raw is None else deserialize(raw, SerializationContext(topic, MessageField.VALUE))
            print(keeper.take(topic, message.key(), ce_id(message.headers()), event), flush=True)
            consumer.store_offsets(message)
    finally:
        consumer.close()  # commits what was stored


def main(arguments: list[str]) -> None:
    """See the top."""
    folder, *topics = [word for word in arguments if word != "--end"]
    read(Path(folder), topics or list(TOPICS), to_end="--end" in arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
