"""The chain as a Celery user would write it: four tasks that do nothing, acknowledged late, results ignored.

Settings are the ones under which Celery was fastest here (`celery_chain.py` says which were tried).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from celery import Celery, chain

BROKER, FINISHED = "BENCH_AMQP", "BENCH_FINISHED"
"""Environment of workers: the broker's URL, and the datagram socket that hears of finished shares."""
SETTINGS: Final[dict[str, Any]] = {
    "task_acks_late": True,
    "task_ignore_result": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    "worker_prefetch_multiplier": 64,
    "worker_disable_rate_limits": True,
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "broker_heartbeat": 0,
    "broker_connection_retry_on_startup": True,
}


def media(share: str) -> dict[str, str]:
    """The first stage."""
    return {"share_id": share, "stage": "media"}


def transcribe(before: dict[str, str]) -> dict[str, str]:
    """The second."""
    return {"share_id": before["share_id"], "stage": "transcribe"}


def summarize(before: dict[str, str]) -> dict[str, str]:
    """The third."""
    return {"share_id": before["share_id"], "stage": "summarize"}


def embed(before: dict[str, str]) -> None:
    """The last; a datagram is cheaper for Celery than one more message."""
    _finished().send(before["share_id"].encode())


@cache
def _finished() -> socket.socket:
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end.connect(os.environ[FINISHED])
    return end


class Tasks:
    """The application on one broker, and how shares are put into it."""

    def __init__(self, broker: str) -> None:
        self.app: Any = Celery("bench", broker=broker, set_as_current=False)
        self.app.conf.update(SETTINGS)
        self._way = [self.app.task(do, name=do.__name__) for do in (media, transcribe, summarize, embed)]
        self._one_at_a_time = threading.Lock()

    def publish(self, shares: Sequence[str]) -> None:
        """Send the first task of each share, with the rest of its chain; from any thread."""
        first, *rest = self._way
        with self._one_at_a_time, self.app.producer_pool.acquire(block=True) as producer:
            for share in shares:
                chain(first.s(share), *(task.s() for task in rest), app=self.app).apply_async(producer=producer)

    def close(self) -> None:
        """Let go of the broker."""
        self.app.close()


if BROKER in os.environ:  # a worker
    app: Any = Tasks(os.environ[BROKER]).app
