"""A stage whose dead letters go to the real Kafka, and the gateway that shows and redrives them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from millrace.contracts.dead_api import Changed, DeadLetter, DeadLettersAnswer, ManyChanged
from millrace.kafka.producer import Producer
from millrace.kafka.records import Message, Partition
from millrace.store.database import Database
from tests.integration.gateway import Gateway
from tests.support.job_bench import Bench
from tests.support.outbox import Outbox

STAGE = "summarize"


@dataclass
class DeadToKafka(Outbox):
    """Remembers what is sent, and lets Kafka have the dead letters."""

    producer: Producer = field(kw_only=True)

    async def send(
        self,
        topic: str,
        *,
        key: bytes,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        partition: int | None = None,
        linger: bool = False,
    ) -> None:
        await super().send(topic, key=key, value=value, headers=headers, partition=partition, linger=linger)
        if topic.endswith(".dead"):
            await self.producer.send(topic, key=key, value=value, headers=headers)


@dataclass
class DeadLetters:
    """The API of a gateway that reads the dead-letter topics, and the stage behind it."""

    gateway: Gateway
    producer: Producer

    def bench(self, text: str | None = None) -> Bench:
        """A share of its own, and a runner of its stage."""
        made = Bench(Database(self.gateway.pool), self.gateway.codec, text)
        made.outbox = DeadToKafka(producer=self.producer)
        return made

    async def letters(self, **asked: str | int) -> DeadLettersAnswer:
        response = await self.gateway.http.get("/dead", params=asked)
        assert response.status_code == 200, response.text
        return DeadLettersAnswer.model_validate(response.json())

    async def of(self, share_id: str, count: int = 1) -> list[str]:
        """Ids of a share's dead letters, newest first, once there are so many."""
        async with asyncio.timeout(20):
            while len(found := (await self.letters(share=share_id)).letters) < count:  # noqa: ASYNC110  # rows have no events
                await asyncio.sleep(0.05)
        assert len(found) == count
        return [letter.id for letter in found]

    async def show(self, letter_id: str) -> DeadLetter:
        response = await self.gateway.http.get(f"/dead/{letter_id}")
        assert response.status_code == 200, response.text
        return DeadLetter.model_validate(response.json())

    async def post(self, path: str, wish: object = None) -> httpx.Response:
        return await self.gateway.http.post(f"/dead/{path}", json=wish)

    async def redrive(self, letter_id: str) -> Changed:
        response = await self.post(f"{letter_id}/redrive")
        assert response.status_code == 200, response.text
        return Changed.model_validate(response.json())

    async def many(self, verb: str, **wish: object) -> ManyChanged:
        response = await self.post(verb, {"stage": STAGE, **wish})
        assert response.status_code == 200, response.text
        return ManyChanged.model_validate(response.json())

    async def commands(self, share_id: str) -> list[Message]:
        """What the outbox would publish to the stage about a share."""
        rows = await self.gateway.pool.fetch(
            "SELECT * FROM outbox WHERE topic = $1 AND key = $2 ORDER BY seq", f"{STAGE}.requested", share_id.encode()
        )
        return [
            Message(
                Partition(row["topic"], 0),
                row["seq"],
                row["key"],
                row["value"],
                {name: text.encode() for name, text in row["headers"].items()},
            )
            for row in rows
        ]
