"""Accepting shares beside the same without an outbox.

`python -m benchmarks.gateway [--json] [--seconds N] [--rounds N]`. `POST /shares` of a text with 1, 16 and 64
clients, each of which sends its next when the last is answered. The peer (`benchmarks/peers/direct_gateway.py`)
inserts the share and awaits an idempotent producer in the request; it writes one row, and the gateway four in one
transaction (the share, two jobs, the outbox). Rounds alternate on one stack, and the peer's begins when the outbox
is empty. The clients share the machine with both. They are one person, whose requests a gateway limits to 100 a
second by default; here the limit is so high that none is refused. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Final

import httpx
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.peers.direct_gateway import TOPIC
from tests.e2e.apart import Apart, apart
from tests.support.process import Service
from tests.support.share_load import UNLIMITED
from tests.support.waiting import until

CLIENTS: Final = (1, 16, 64)
WARM_UP_S: Final = 1.0
PARTITIONS: Final = 4
TEXT: Final = "The miller keeps the gate so that the wheel turns at the same speed. " * 10
EMPTY_WITHIN_S: Final = 120.0


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@dataclass
class Side:
    """Of one program with so many clients: answers a second of each round, and all latencies in seconds."""

    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """The median rate, and percentiles in milliseconds."""
        cuts = statistics.quantiles(self.latencies, n=100)
        return {
            "per_s": round(statistics.median(self.rates), 1),
            **{f"p{cut}_ms": round(cuts[cut - 1] * 1000, 1) for cut in (50, 95, 99)},
        }


async def flood(url: str, clients: int, seconds: float) -> tuple[float, list[float]]:
    """Answers a second and their latencies, after the warm-up."""
    latencies: list[float] = []
    began = time.perf_counter()
    ends = began + WARM_UP_S + seconds

    async def client(http: httpx.AsyncClient) -> None:
        while (at := time.perf_counter()) < ends:
            answer = await http.post("/shares", json={"text": TEXT})
            if answer.status_code != httpx.codes.ACCEPTED:
                raise RuntimeError(f"{url} answered {answer.status_code}: {answer.text[:200]}")
            if at - began >= WARM_UP_S:
                latencies.append(time.perf_counter() - at)

    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with (
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=30, limits=limits) as http,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(clients):
            tasks.create_task(client(http))
    return len(latencies) / seconds, latencies


def wait_until_empty(parts: Apart) -> float:
    """Wait until everything is published; how many seconds that took."""
    began = time.perf_counter()
    until(lambda: not parts.sql("SELECT 1 FROM outbox LIMIT 1"), "the outbox to be empty", EMPTY_WITHIN_S)
    return time.perf_counter() - began


def measure(parts: Apart, seconds: float, rounds: int) -> dict[str, object]:
    """All rounds of both, on a stack where the gateway runs."""
    admin = AdminClient({"bootstrap.servers": parts.addresses.kafka})  # its futures end with it
    for created in admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)]).values():
        created.result(30)
    peer = Service("benchmarks.peers.direct_gateway", parts.environment, parts.folder / "peer.log")
    found = {clients: (Side(), Side()) for clients in CLIENTS}
    behind: list[float] = []
    try:
        asyncio.run(peer.ready())
        for number in range(rounds):
            for clients, sides in found.items():
                for side, url in zip(sides, (parts.gateway, peer.url), strict=True):
                    rate, latencies = asyncio.run(flood(url, clients, seconds))
                    side.rates.append(rate)
                    side.latencies += latencies
                    if side is sides[0]:
                        behind.append(wait_until_empty(parts))
                ours, others = (side.rates[-1] for side in sides)
                say(f"round {number + 1}, {clients} clients: {ours:.0f}/s, peer {others:.0f}/s")
    finally:
        peer.end()
    return figures(found, behind)


def figures(found: dict[int, tuple[Side, Side]], behind: list[float]) -> dict[str, object]:
    """What is printed: `ratio_*` are ours by the peer's, above 1 is more of it (rates: better, latencies: worse)."""
    result: dict[str, object] = {}
    for clients, (ours, peer) in found.items():
        us, them = ours.figures(), peer.figures()
        result[f"ratio_per_s_{clients}"] = round(us["per_s"] / them["per_s"], 2)
        result[f"ratio_p95_{clients}"] = round(us["p95_ms"] / them["p95_ms"], 2)
        result[f"millrace_{clients}"], result[f"peer_{clients}"] = us, them
    return {**result, "outbox_empty_after_s": round(max(behind), 2)}


def main() -> None:
    """Measure on a stack of its own."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true", help="only the last line")
    arguments.add_argument("--seconds", type=float, default=5.0, help="of each round")
    arguments.add_argument("--rounds", type=int, default=3, help="alternating rounds of both")
    chosen = arguments.parse_args()
    with apart(UNLIMITED, {}) as parts:
        parts.start(("api_gateway",))
        measured = measure(parts, chosen.seconds, chosen.rounds)
    if not chosen.json:
        for figure, value in measured.items():
            say(f"{figure:24} {value}")
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main()
