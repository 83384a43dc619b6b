"""Celery over RabbitMQ: no ledger, no dedupe, no leases; tasks are acknowledged late.

Celery is given what was fastest on two cores: two processes without a pool between them and their tasks (`solo`).
Tried too: solo with 1, 3 and 4 processes, threads, prefork with 2 and 4 children (`--celery-pool prefork`, Celery's
own default: half the shares a second or less). Messages are persistent and not confirmed to their
publisher, as by Celery's defaults.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Final, Literal

from benchmarks.peers import rabbit
from benchmarks.peers.chain import Chain, Finishes, NotInstalled, Process, running

BROKER, FINISHED = "BENCH_AMQP", "BENCH_FINISHED"
Pool = Literal["solo", "prefork"]
POOLS: Final[dict[Pool, tuple[int, tuple[str, ...]]]] = {
    "solo": (2, ("--pool=solo",)),
    "prefork": (1, ("--pool=prefork", "--concurrency=2", "-O", "fair")),
}
"""Worker processes, and how each runs its tasks."""
OPTIONS: Final = (
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
    "--loglevel=WARNING",
)


def ask_for_celery() -> None:
    """:raises NotInstalled: it is not there."""
    rabbit.installed()
    if importlib.util.find_spec("celery") is None:
        raise NotInstalled(
            "Celery is not installed: `make bench` brings it, or `.venv/bin/uv pip install --constraint "
            "constraints.txt --group bench` (or use --only)."
        )


@asynccontextmanager
async def open_celery(folder: Path, pool: Pool = "solo") -> AsyncIterator[Chain]:
    """A fresh RabbitMQ and workers that take every task."""
    ask_for_celery()
    ending = folder / "finished"
    with heard_at(ending) as finishes, rabbit.rabbit(folder) as node:
        env = {BROKER: node.url, FINISHED: str(ending)}
        from benchmarks.peers.celery_tasks import SETTINGS, Tasks  # noqa: PLC0415 - only now is Celery known to be there

        count, how = POOLS[pool]
        program = (sys.executable, "-m", "celery", "--app", "benchmarks.peers.celery_tasks", "worker", *how, *OPTIONS)
        workers = [
            Process(f"celery-{n}", (*program, f"--hostname=w{n}@%h"), folder / f"celery-{n}.log", env)
            for n in range(count)
        ]
        with running(*workers), closing(Tasks(node.url)) as tasks:
            yield Chain(
                name="celery",
                workers=workers,
                publish=lambda shares: asyncio.to_thread(tasks.publish, shares),
                finishes=finishes,
                settings={
                    "workers": f"{count} with {' '.join(how)}, any task in any of them",
                    "celery": SETTINGS,
                    "messages": "persistent, not confirmed to the publisher (Celery's defaults)",
                    "erlang": rabbit.ERLANG,
                },
                versions={
                    "celery": importlib.metadata.version("celery"),
                    "kombu": importlib.metadata.version("kombu"),
                    "rabbitmq": await asyncio.to_thread(rabbit.version, node),
                },
                parts={"rabbitmq": node.pid},
            )


@contextmanager
def heard_at(path: Path) -> Iterator[Finishes]:
    """Ids of shares that come as datagrams; a sender waits when the queue is full, so none is lost."""
    finishes, stopped = Finishes(), threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(path))
        end.settimeout(0.1)

        def listen() -> None:
            while not stopped.is_set():
                try:
                    share = end.recv(200)
                except TimeoutError:
                    continue
                finishes.tell(share.decode(), time.perf_counter())

        thread = threading.Thread(target=listen, name="finishes", daemon=True)
        thread.start()
        try:
            yield finishes
        finally:
            stopped.set()
            thread.join()
