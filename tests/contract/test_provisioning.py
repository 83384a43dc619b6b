"""Topics and schemas on a real broker and registry, under names of this test run's own."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from millrace.cluster import Cluster
from millrace.contracts.catalog import Catalog
from millrace.contracts.drift import Alter, Create
from millrace.contracts.partitions import partition_for
from millrace.contracts.provision import apply_topics, check_schemas, register_schemas, verify_topics
from millrace.contracts.registry import FULL_TRANSITIVE, Registry
from millrace.contracts.schemas import SchemaSpec
from millrace.contracts.wire import Codec
from millrace.embedded.readyfile import Addresses
from millrace.errors import ConfigurationError, Poison, Unavailable

SCHEMA = "cost.alerts"


@pytest.fixture
def catalog(stack: Addresses) -> Iterator[Catalog]:
    """Four of the real topics under a prefix that nobody else uses; deleted afterwards."""
    real = Catalog.load()
    prefix = f"t{uuid.uuid4().hex[:10]}"
    topics = {}
    for name in ("cost.alerts", "cost.requests", "cost.rows", "media.dead"):
        spec = real.topic(name).model_copy(update={"name": f"{prefix}.{name}"})
        topics[spec.name] = spec
    yield Catalog(topics, real.schemas, real.examples, real.frozen)
    admin = AdminClient({"bootstrap.servers": stack.kafka})
    existing = [name for name in topics if name in admin.list_topics(timeout=20).topics]
    for future in admin.delete_topics(existing).values() if existing else ():
        future.result(timeout=20)


def _named(catalog: Catalog, end: str) -> str:
    return next(name for name in catalog.topics if name.endswith(end))


def _quiet(_: str) -> None:
    """Report to nobody."""


async def test_applying_creates_everything_once(stack: Addresses, catalog: Catalog) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await verify_topics(stack.cluster, catalog, catalog.topics)
    assert all(f"{name}: is missing" in str(refused.value) for name in catalog.topics)
    assert "run `millrace topics apply`" in str(refused.value)

    lines: list[str] = []
    done = await apply_topics(stack.cluster, catalog, report=lines.append)
    assert [type(change) for change in done] == [Create] * len(catalog.topics)
    assert sorted(lines) == sorted(f"created {name}" for name in catalog.topics)
    await verify_topics(stack.cluster, catalog, catalog.topics)
    assert await apply_topics(stack.cluster, catalog, report=_quiet) == []


async def test_two_that_apply_at_once_do_not_disturb_each_other(stack: Addresses, catalog: Catalog) -> None:
    await asyncio.gather(*(apply_topics(stack.cluster, catalog, report=_quiet) for _ in range(3)))
    await verify_topics(stack.cluster, catalog, catalog.topics)


async def test_a_setting_changed_by_hand_is_found_and_mended_alone(stack: Addresses, catalog: Catalog) -> None:
    await apply_topics(stack.cluster, catalog, report=_quiet)
    rows = _named(catalog, "cost.rows")
    _set(stack.kafka, rows, {"segment.bytes": "1073741824", "retention.ms": "12345678"})
    with pytest.raises(ConfigurationError, match=r"segment\.bytes is 1073741824, not 33554432"):
        await verify_topics(stack.cluster, catalog, [rows])

    done = await apply_topics(stack.cluster, catalog, report=_quiet)
    assert done == [Alter(rows, {"segment.bytes": "33554432"}, {"segment.bytes": "1073741824"})]
    assert _get(stack.kafka, rows, "retention.ms") == "12345678", "what the catalogue does not say is left alone"


async def test_a_budget_on_producers_clocks_is_refused_and_the_rest_still_applied(
    stack: Addresses, catalog: Catalog
) -> None:
    await apply_topics(stack.cluster, catalog, report=_quiet)
    requests, rows = _named(catalog, "cost.requests"), _named(catalog, "cost.rows")
    _set(stack.kafka, requests, {"message.timestamp.type": "CreateTime"})
    _set(stack.kafka, rows, {"segment.bytes": "1073741824"})
    with pytest.raises(ConfigurationError, match=r"message\.timestamp\.type is CreateTime and must be LogAppendTime"):
        await apply_topics(stack.cluster, catalog, report=_quiet)
    assert _get(stack.kafka, rows, "segment.bytes") == "33554432"


async def test_more_replicas_than_brokers_is_said_plainly(stack: Addresses, catalog: Catalog) -> None:
    with pytest.raises(ConfigurationError, match=r"refuses: .*replication factor"):
        await apply_topics(stack.cluster, catalog, replication=3, report=_quiet)


async def test_a_kafka_that_is_not_there_is_unavailable(catalog: Catalog) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        await verify_topics(Cluster(f"127.0.0.1:{_closed_port()}"), catalog, catalog.topics, timeout_s=1)


async def test_registering_is_idempotent_and_holds_subjects_to_full_transitive(
    stack: Addresses, catalog: Catalog
) -> None:
    topic = _named(catalog, SCHEMA)
    with Registry(stack.registry) as registry:
        with pytest.raises(ConfigurationError, match=rf"{topic}-value: run `millrace schemas register`"):
            await Codec.connect(registry, catalog, [topic])
        assert await asyncio.to_thread(register_schemas, stack.registry, catalog, _quiet) == len(catalog.subjects())
        assert await asyncio.to_thread(register_schemas, stack.registry, catalog, _quiet) == 0
        assert registry.compatibility(f"{topic}-value") == FULL_TRANSITIVE
        await Codec.connect(registry, catalog, [topic])


def test_the_registry_itself_refuses_a_breaking_version(stack: Addresses, catalog: Catalog) -> None:
    register_schemas(stack.registry, catalog, _quiet)
    first = catalog.schema(SCHEMA)
    schema = json.loads(first.text)
    schema["fields"].append({"name": "note", "type": "string"})  # no default: cannot read what is there
    second = SchemaSpec(SCHEMA, 2, json.dumps(schema))
    broken = Catalog(catalog.topics, {**catalog.schemas, SCHEMA: (first, second)})
    assert any(
        f"would refuse {SCHEMA}.v2 under {_named(catalog, SCHEMA)}-value" in problem
        for problem in check_schemas(broken, stack.registry)
    )
    with pytest.raises(ConfigurationError, match="refuses the schema"):
        register_schemas(stack.registry, broken, _quiet)


async def test_a_real_registry_tells_an_unknown_id_from_its_absence(stack: Addresses, catalog: Catalog) -> None:
    topic = _named(catalog, SCHEMA)
    await asyncio.to_thread(register_schemas, stack.registry, catalog, _quiet)
    unknown = b"\x00\x7f\xff\xff\xff" + b"\x00" * 20
    with Registry(stack.registry) as registry:
        codec = await Codec.connect(registry, catalog, [topic])
        with pytest.raises(Poison, match="does not know the schema id 2147483647"):
            await codec.decode(topic, unknown)
    with (
        Registry(f"http://127.0.0.1:{_closed_port()}", retries=0) as nobody,
        pytest.raises(Unavailable, match="does not answer"),
    ):
        await Codec(nobody, catalog, {}).decode(topic, unknown)


async def test_librdkafka_with_murmur2_chooses_our_partition(stack: Addresses, catalog: Catalog) -> None:
    await apply_topics(stack.cluster, catalog, report=_quiet)
    topic = _named(catalog, "cost.requests")
    chosen: dict[str, int] = {}

    def delivered(error: object, message: Message) -> None:
        key, partition = message.key(), message.partition()
        assert error is None
        assert isinstance(key, bytes)
        assert partition is not None
        chosen[key.decode()] = partition

    producer = Producer({"bootstrap.servers": stack.kafka, "partitioner": "murmur2_random"})
    keys = [f"account-{number}" for number in range(40)] + ["größe", "水車"]
    for key in keys:
        producer.produce(topic, key=key, value=b"x", on_delivery=delivered)
    assert producer.flush(20) == 0
    assert chosen == {key: partition_for(key, 4) for key in keys}


def _set(kafka: str, topic: str, settings: dict[str, str]) -> None:
    entries = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in settings.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin = AdminClient({"bootstrap.servers": kafka})  # lives until the answer is here
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(timeout=20)
    deadline = time.monotonic() + 20
    while any(_get(kafka, topic, name) != value for name, value in settings.items()):
        assert time.monotonic() < deadline, "the broker does not show what the controller took"
        time.sleep(0.05)


def _get(kafka: str, topic: str, name: str) -> str | None:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": kafka})
    (future,) = admin.describe_configs([resource]).values()
    value: str | None = future.result(timeout=20)[name].value
    return value


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
