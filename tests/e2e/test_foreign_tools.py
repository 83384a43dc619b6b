"""Tools that know nothing of this project read its topics: Confluent's deserializer, Kafka's own tools, kcat."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest
from millrace.embedded.java import find_java
from millrace.embedded.paths import cache_folder
from millrace.testing.media import JFK_WAV
from tests.e2e.harness import Running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
WITHOUT_SCHEMA = {"cost.rows"}
GROUPS = {f"millrace-{name}-agent" for name in ("media", "transcribe", "summarize", "embed")} | {
    "millrace-cost-ledger"
}


@pytest.fixture(scope="module")
def shared(client: Client) -> str:
    """A share that went the whole way, so that every topic of the way has messages."""
    accepted = client.upload(JFK_WAV, ShareRequest(title="For others"))
    assert client.wait(accepted.share_id, within_s=120).state == "done"
    return accepted.share_id


def read_all(kafka: str, topic: str) -> list[tuple[bytes | None, bytes | None]]:
    """Key and value of every committed message there is now."""
    settings = {"bootstrap.servers": kafka, "group.id": "foreign", "enable.partition.eof": True}
    consumer = Consumer(settings | {"enable.auto.commit": False, "isolation.level": "read_committed"})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        ended: set[int] = set()
        found: list[tuple[bytes | None, bytes | None]] = []
        while len(ended) < len(partitions):
            message = consumer.poll(10)
            assert message is not None, f"{topic} gave nothing for 10 s"
            if (error := message.error()) is None:
                found.append((message.key(), message.value()))
            elif error.name() == "_PARTITION_EOF":
                ended.add(message.partition() or 0)
            else:
                raise KafkaException(error)
        return found
    finally:
        consumer.close()


@pytest.mark.usefixtures("shared")
def test_confluents_deserializer_reads_every_message(running: Running) -> None:
    consumer = Consumer({"bootstrap.servers": running.addresses["kafka"], "group.id": "foreign"})
    names = consumer.list_topics(timeout=10).topics
    consumer.close()
    topics = [
        name
        for name in names
        if not name.startswith("__") and not name.endswith((".dead", "-changelog")) and name not in WITHOUT_SCHEMA
    ]
    read: Counter[str] = Counter()
    way = {"share.created", "media.ready", "transcript.ready", "summary.ready", "embedding.ready", "task.status"}
    with SchemaRegistryClient({"url": running.addresses["registry"]}) as registry:
        deserialize = AvroDeserializer(registry)
        for topic in topics:
            for _, value in read_all(running.addresses["kafka"], topic):
                found = deserialize(value, SerializationContext(topic, MessageField.VALUE))
                # Tombstones are of shares that other tests have deleted, on topics that tell of shares.
                assert isinstance(found, dict) if value is not None else (found is None and topic in way)
                read[topic] += value is not None
    assert way | {"cost.requests", "cost.decisions", "cost.spend"} <= set(read), read


def kafka_tool(running: Running, main: str, *arguments: str) -> str:
    """Output of one of Kafka's own command-line tools."""
    (libraries,) = (folder for folder in cache_folder(os.environ).glob("kafka-*") if folder.is_dir())
    argv = [
        str(find_java().executable),
        "-cp",
        f"{libraries}/*",
        main,
        "--bootstrap-server",
        running.addresses["kafka"],
    ]
    return subprocess.run([*argv, *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


def test_kafkas_own_tools_list_topics_groups_and_lag(running: Running, shared: str) -> None:
    topics = kafka_tool(running, "org.apache.kafka.tools.TopicCommand", "--list").split()
    assert {"share.created", "transcript.ready", "cost.decisions"} <= set(topics)
    command = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    groups = set(kafka_tool(running, command, "--list").split())
    assert groups >= GROUPS
    described = kafka_tool(running, command, "--describe", "--group", "millrace-transcribe-agent")
    rows = [line.split() for line in described.splitlines() if line.startswith("millrace-transcribe-agent")]
    lag = {(row[1], int(row[2])): row[5] for row in rows}
    assert {topic for topic, _ in lag} == {"media.ready", "transcribe.requested"}
    assert all(value in ("0", "-") for value in lag.values()), described


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed (Debian: apt-get install kcat)")
def test_kcat_lists_topics_and_reads_a_status_by_key(running: Running, shared: str) -> None:
    kcat = ["kcat", "-b", running.addresses["kafka"]]
    listed = subprocess.run([*kcat, "-L", "-J"], check=True, capture_output=True, text=True, timeout=30).stdout
    topics = {topic["topic"] for topic in json.loads(listed)["topics"]}
    assert {"share.created", "embedding.ready"} <= topics
    read = [*kcat, "-C", "-t", "task.status", "-e", "-q", "-f", "%k\n"]
    keys = subprocess.run(read, check=True, capture_output=True, text=True, timeout=30).stdout.split()
    assert f"{shared}|transcribe" in keys
