"""Rights of deploy/strimzi on real brokers: KEDA sees how far agents are behind, and reads nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from millrace.cluster import Cluster
from millrace.contracts.access import apply_access
from millrace.contracts.acls import OPERATOR
from millrace.contracts.catalog import Catalog
from millrace.contracts.provision import apply_topics
from scripts.strimzi import SCALER, scaler
from services.api_gateway.lags import Lags
from tests.support.brokers import three_brokers
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PASSWORD: Final = "a-password-of-a-test"
TOPIC: Final = "share.created"
GROUP: Final = "millrace-media-agent"


def silent(_: str) -> None:
    """Nobody reads what is done."""


def leave_two_of_three(operator: Cluster) -> None:
    """Three records, of which the agents' group has done one."""
    producer = Producer(operator.librdkafka())
    for _ in range(3):
        producer.produce(TOPIC, b"a share", partition=0)
    assert producer.flush(30) == 0
    consumer = Consumer({**operator.librdkafka(), "group.id": GROUP})
    consumer.commit(offsets=[TopicPartition(TOPIC, 0, 1)], asynchronous=False)
    consumer.close()


def refusal(who: Cluster) -> int:
    """What a reader of the topic is told."""
    consumer = Consumer({**who.librdkafka(), "group.id": "millrace-x", "log_level": 0})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    try:
        message = until(lambda: consumer.poll(1.0), "an answer", within_s=30)
        error = message.error() if message is not None else None
        assert error is not None, "it could read"
        return error.code()
    finally:
        consumer.close()


async def test_the_scaler_sees_the_lag_and_can_read_nothing(tmp_path: Path) -> None:
    catalog = Catalog.load(more=[])
    with three_brokers(tmp_path, tmp_path / "security") as brokers:
        operator = brokers.seen_by(OPERATOR)
        await apply_topics(operator, catalog, replication=3, report=silent)
        await apply_access(operator, [SCALER], scaler(catalog), {SCALER: PASSWORD}, silent)
        await asyncio.to_thread(leave_two_of_three, operator)
        keda = replace(operator, user=SCALER, password=PASSWORD)
        assert await Lags(keda).of(["media"]) == {"media": 2}
        assert await asyncio.to_thread(refusal, keda) == KafkaError.TOPIC_AUTHORIZATION_FAILED
