"""Stock Faust: four agents, no ledger, no dedupe, no leases.

Faust is given what was fastest on two cores: WORKERS processes with all four agents in each (1, 2 and 3 were tried).
It takes a backlog in gulps with a second or two between them, so it is faster with a larger one (`--shares 6000`).
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaProducer
from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.peers.chain import PARTITIONS, TOPICS, Broken, Chain, Process, running
from benchmarks.peers.kafka import heard_on, records

WORKERS: Final = 4
BROKER, DATA = "BENCH_KAFKA", "BENCH_DATA"
GROUP: Final = "bench"
READY_WITHIN_S: Final = 240.0  # the first run on a machine downloads Kafka


@asynccontextmanager
async def open_faust(folder: Path) -> AsyncIterator[Chain]:
    """A fresh Kafka, its topics and the workers."""
    ready = folder / "ready.json"
    program = ("millrace.embedded", "--data", str(folder / "kafka"), "--ready-file", str(ready), "--parts", "kafka")
    with running(Process("kafka", (sys.executable, "-m", *program), folder / "kafka.log")) as (broker,):
        kafka, pid = await asyncio.to_thread(_until_ready, broker, ready)
        await asyncio.to_thread(_make_topics, kafka)
        producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", linger_ms=5)
        await producer.start()
        try:
            async with heard_on(kafka, TOPICS[-1]) as finishes:
                with running(*(_worker(n, kafka, folder) for n in range(WORKERS))) as workers:
                    await asyncio.to_thread(_until_joined, kafka, workers)
                    yield Chain(
                        name="faust",
                        workers=workers,
                        publish=lambda shares: _publish(producer, shares),
                        finishes=finishes,
                        settings={
                            "workers": f"{WORKERS} processes, all four agents in each",
                            "faust": "its defaults; values in JSON, web off",
                            "partitions": PARTITIONS,
                        },
                        versions={"faust-streaming": importlib.metadata.version("faust-streaming")},
                        parts={"kafka": pid},
                    )
        finally:
            await producer.stop()


def _worker(number: int, kafka: str, folder: Path) -> Process:
    env = {BROKER: kafka, DATA: str(folder / f"faust-{number}")}
    program = (sys.executable, "-m", "benchmarks.peers.faust_app", "worker", "--without-web", "--loglevel=warn")
    return Process(f"faust-{number}", program, folder / f"faust-{number}.log", env)


def _until_ready(broker: Process, ready: Path) -> tuple[str, int]:
    deadline = time.monotonic() + READY_WITHIN_S
    while not ready.exists():
        broker.alive()
        if time.monotonic() > deadline:
            raise Broken(f"Kafka did not start within {READY_WITHIN_S:.0f} s: see {broker.log}")
        time.sleep(0.1)
    said = json.loads(ready.read_text(encoding="utf-8"))
    return said["kafka"], int(said["pids"]["kafka"]["pid"])


def _make_topics(kafka: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 2})
    for made in admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in TOPICS]).values():
        made.result(30)
    records(kafka, TOPICS)  # all are led


def _until_joined(kafka: str, workers: Sequence[Process]) -> None:
    """Faust does the last seconds' work again at a rebalance: none may come once shares do."""
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 2})
    deadline = time.monotonic() + READY_WITHIN_S
    while not _joined(admin, len(workers)):
        for worker in workers:
            worker.alive()
        if time.monotonic() > deadline:
            raise Broken(f"Faust's workers did not come together within {READY_WITHIN_S:.0f} s: see {workers[0].log}")
        time.sleep(0.1)


def _joined(admin: AdminClient, count: int) -> bool:
    (asked,) = admin.describe_consumer_groups([GROUP]).values()
    try:
        group = asked.result(30)
    except KafkaException:  # its coordinator has just been made
        return False
    return group.state is ConsumerGroupState.STABLE and len(group.members) == count


async def _publish(producer: AIOKafkaProducer, shares: Sequence[str]) -> None:
    """Returns when Kafka has confirmed all."""
    values = {share: json.dumps({"share_id": share, "stage": TOPICS[0]}).encode() for share in shares}
    # As Faust writes a key of type str.
    sent = [await producer.send(TOPICS[0], value, key=share.encode()) for share, value in values.items()]
    await asyncio.gather(*sent)
