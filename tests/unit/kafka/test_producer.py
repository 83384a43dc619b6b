"""Output that outlives broken producers."""

from __future__ import annotations

from typing import cast

from aiokafka import AIOKafkaProducer
from aiokafka.errors import RequestTimedOutError

from millrace.cluster import Cluster
from millrace.kafka.producer import Producer


class Client:
    """Stands in for aiokafka's producer; one that is broken confirms nothing."""

    def __init__(self, *, broken: bool = False) -> None:
        self.confirmed: list[bytes] = []
        self.stopped = False
        self._broken = broken

    async def send_and_wait(self, topic: str, *, value: bytes, **_: object) -> None:
        if self._broken:
            raise RequestTimedOutError
        self.confirmed.append(value)

    async def stop(self) -> None:
        self.stopped = True


class Replaced(Producer):
    """Connects to these clients one after another."""

    def __init__(self, *clients: Client) -> None:
        super().__init__(Cluster("none"))
        self._clients = iter(clients)

    async def _connect(self) -> AIOKafkaProducer:
        return cast(AIOKafkaProducer, next(self._clients))


async def test_what_is_not_confirmed_is_sent_again_by_a_fresh_producer() -> None:
    broken, fresh = Client(broken=True), Client()
    producer = Replaced(broken, fresh)
    await producer.start()
    await producer.send("share.created", key=b"k", value=b"a share", headers=[])
    assert fresh.confirmed == [b"a share"]
    assert broken.stopped
    assert not fresh.stopped
