"""Clients that share texts at a steady rate, and repeat what was not answered with the same Idempotency-Key."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import httpx

_REPEAT_EVERY_S = 0.2
UNLIMITED: Final = {"MILLRACE_RATE_LIMIT": "1000000/second"}
"""A gateway's setting: all clients of a load are one person here, who may send 100 a second by default."""


@dataclass
class Load:
    """What was asked and answered. `accepted`: for every Idempotency-Key the share ids that were answered.

    `texts`: what was shared, by share id. `answers_s`: how long each answered request took, in seconds; `unanswered`:
    requests that were not answered.
    """

    accepted: dict[str, set[str]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    answers_s: list[float] = field(default_factory=list)
    unanswered: int = 0
    put_off: int = 0
    """Times that a share was told to come again soon."""

    @property
    def share_ids(self) -> list[str]:
        """One for each Idempotency-Key; it is an error if there are more."""
        several = {key: ids for key, ids in self.accepted.items() if len(ids) != 1}
        assert not several, f"one request, several shares: {several}"
        return [share_id for ids in self.accepted.values() for share_id in ids]

    def p95_s(self) -> float:
        """Of twenty answers, nineteen took no longer."""
        return sorted(self.answers_s)[int(len(self.answers_s) * 0.95)]


async def share_steadily(
    url: Callable[[], str],
    *,
    rate: float,
    go_on: Callable[[], bool],
    repeat_within_s: float = 60.0,
    words: str = "the mill turns.",
) -> Load:
    """Share texts at so many a second, whether earlier ones are answered or not, as long as `go_on` says so.

    Each text begins with what no other begins with, up to its first colon, and goes on with `words`.

    :raises TimeoutError: a share was not answered in time, though it was repeated.
    """
    load = Load()
    began, number, run = time.monotonic(), 0, uuid.uuid4().hex[:8]
    # No limit of connections: waiting for one would starve whoever has to repeat.
    async with (
        httpx.AsyncClient(trust_env=False, timeout=10, limits=httpx.Limits(max_keepalive_connections=64)) as http,
        asyncio.TaskGroup() as tasks,
    ):
        while go_on():
            tasks.create_task(_share(http, url, f"Text {number} of {run}: {words}", load, repeat_within_s))
            number += 1
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
    return load


async def _share(http: httpx.AsyncClient, url: Callable[[], str], text: str, load: Load, within_s: float) -> None:
    key = uuid.uuid4().hex
    async with asyncio.timeout(within_s):
        while True:
            began = time.monotonic()
            try:
                answer = await http.post(f"{url()}/shares", json={"text": text}, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                load.unanswered += 1
                await asyncio.sleep(_REPEAT_EVERY_S)
                continue
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and (wait := answer.headers.get("retry-after")):
                # So many come again at once when a gateway is back that it tells some to come later.
                load.put_off += 1
                await asyncio.sleep(float(wait))
                continue
            assert answer.status_code == httpx.codes.ACCEPTED, answer.text
            load.answers_s.append(time.monotonic() - began)
            share_id = answer.json()["share_id"]
            load.accepted.setdefault(key, set()).add(share_id)
            load.texts[share_id] = text
            return
