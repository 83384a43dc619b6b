"""The peer of the gateway: it inserts the share and awaits Kafka in the request, as most would without an outbox.

`python -m benchmarks.peers.direct_gateway`. What it accepts while Kafka is away, or when it dies between the two, is
lost or unknown; that is what the outbox is for, and this shows what it costs.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Request
from pydantic import BaseModel

TOPIC: Final = "peer.share.created"
SCHEMA: Final = "CREATE TABLE IF NOT EXISTS peer_shares (share_id text PRIMARY KEY, text text NOT NULL)"


class Draft(BaseModel):
    """A share of a text."""

    text: str


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[None]:
    """A pool of as many connections as the gateway's, and an idempotent producer that waits for all replicas."""
    producer = AIOKafkaProducer(
        bootstrap_servers=os.environ["MILLRACE_KAFKA"], enable_idempotence=True, acks="all", linger_ms=2
    )
    async with asyncpg.create_pool(os.environ["MILLRACE_POSTGRES"], min_size=10, max_size=10) as pool, producer:
        await pool.execute(SCHEMA)
        app.state.pool, app.state.producer = pool, producer
        yield


app = FastAPI(lifespan=connected)


@app.post("/shares", status_code=202)
async def share(draft: Draft, request: Request) -> dict[str, str]:
    """Insert, publish, answer."""
    share_id = str(uuid.uuid4())
    state = request.app.state
    await state.pool.execute("INSERT INTO peer_shares VALUES ($1, $2)", share_id, draft.text)
    event = json.dumps({"share_id": share_id, "text": draft.text}).encode()
    await state.producer.send_and_wait(TOPIC, event, share_id.encode())
    return {"share_id": share_id}


@app.get("/readyz")
async def readyz() -> dict[str, str]:
    """It runs."""
    return {"status": "ready"}


async def main() -> None:
    """Serve until it is stopped."""
    port = int(os.environ["MILLRACE_HTTP_PORT"])
    await uvicorn.Server(uvicorn.Config(app, port=port, access_log=False, log_level="warning")).serve()


if __name__ == "__main__":
    asyncio.run(main())
