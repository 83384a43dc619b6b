"""The chain as a Celery user would write it: four tasks that do nothing, acknowledged late, results ignored.

Settings are the ones under which Celery was fastest here (`celery_chain.py` says which were tried).
"""

from __future__ import annotations

import os
import socket
from functools import cache
from typing import Any

from celery import Celery, chain

BROKER, FINISHED = "BENCH_AMQP", "BENCH_FINISHED"
"""Environment: the broker's URL, and the datagram socket that hears of finished shares."""
PREFETCH = 64

app = Celery("bench", broker=os.environ.get(BROKER, "amqp://"))
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=PREFETCH,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_heartbeat=0,
    broker_connection_retry_on_startup=True,
)


def _media(share: str) -> dict[str, str]:
    return {"share_id": share, "stage": "media"}


def _transcribe(before: dict[str, str]) -> dict[str, str]:
    return {"share_id": before["share_id"], "stage": "transcribe"}


def _summarize(before: dict[str, str]) -> dict[str, str]:
    return {"share_id": before["share_id"], "stage": "summarize"}


def _embed(before: dict[str, str]) -> None:
    _finished().send(before["share_id"].encode())


@cache
def _finished() -> socket.socket:
    """Cheaper for Celery than one more message."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end.connect(os.environ[FINISHED])
    return end


media = app.task(_media, name="media")
transcribe = app.task(_transcribe, name="transcribe")
summarize = app.task(_summarize, name="summarize")
embed = app.task(_embed, name="embed")
WAY: Any = chain(transcribe.s(), summarize.s(), embed.s())


def publish(shares: list[str]) -> None:
    """Send the first task of each share, with the rest of its chain."""
    with app.producer_pool.acquire(block=True) as producer:
        for share in shares:
            chain(media.s(share), transcribe.s(), summarize.s(), embed.s()).apply_async(producer=producer)
