"""All services on a stack of a test's own, with models that bill, and what is true of shares once all is done."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, cast

from confluent_kafka import Message

from millrace.contracts.catalog import Catalog
from millrace.embedded.supervise import crashes_in_a_row, restart_delay_s
from tests.e2e.apart import Apart, apart
from tests.support.kafka import read_all
from tests.support.process import Service
from tests.support.provider import Provider, serve_provider
from tests.support.share_load import UNLIMITED
from tests.support.waiting import eventually

STAGES: Final = ("summarize", "embed")
"""What a text goes through."""
READY: Final = ("share.created", "summary.ready", "embedding.ready")
WORDS: Final = "The miller keeps the gate, so that the wheel turns at the same speed whatever the stream does."
BUDGETS: Final = """
[default.summarize]
hour = "1000.00"
day = "1000.00"

[default.embed]
hour = "1000.00"
day = "1000.00"
"""


@dataclass
class Whole:
    """All services, each a process, and the provider of their models."""

    parts: Apart
    provider: Provider

    def ended(self) -> dict[str, int]:
        """Services that do not run, and how they have ended."""
        return {name: worker.process.returncode for name, worker in self.parts.workers.items() if not worker.running}

    @asynccontextmanager
    async def supervised(self) -> AsyncIterator[list[tuple[str, int]]]:
        """Start what ends again, as `millrace up` does; yields what has ended, and how."""
        found: list[tuple[str, int]] = []

        async def keep(name: str, worker: Service) -> None:
            crashes, since = 0, time.monotonic()
            while True:
                await eventually(lambda: not worker.running, "the end of it", math.inf, every_s=0.1)
                found.append((name, worker.process.returncode))
                crashes = crashes_in_a_row(crashes, ran_s=time.monotonic() - since)
                await asyncio.sleep(restart_delay_s(crashes))
                worker.start_again()
                since = time.monotonic()

        keeping = [asyncio.create_task(keep(name, worker)) for name, worker in self.parts.workers.items()]
        try:
            yield found
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.wait(keeping)


@contextmanager
def whole(*, brokers: bool = False) -> Iterator[Whole]:
    """Everything is ready.

    :param brokers: on three brokers that let nobody in who shows no password.
    """
    with serve_provider() as provider:
        environment = provider.environment(embeds=True) | UNLIMITED | {"MILLRACE_INSTANCE": "the-only-one"}
        with apart(environment, {"MILLRACE_BUDGETS": BUDGETS}, brokers=brokers) as parts:
            parts.start()
            yield Whole(parts, provider)


async def all_done(made: Whole, shares: Sequence[str], within_s: float) -> None:
    """Wait until every stage of these shares is done.

    :raises TimeoutError: one is not, or has come to another end; how many are where is printed.
    """
    query = "SELECT stage, state, count(*) AS jobs FROM jobs WHERE share_id = ANY(%s) GROUP BY 1, 2"

    def states() -> dict[tuple[object, object], object]:
        return {(row["stage"], row["state"]): row["jobs"] for row in made.parts.sql(query, list(shares))}

    wanted = {(stage, "done"): len(shares) for stage in STAGES}
    try:
        await eventually(lambda: states() == wanted, "all jobs to be done", within_s, every_s=0.5)
    except TimeoutError:
        print(states(), made.ended())
        raise


def check(made: Whole, texts: Mapping[str, str]) -> dict[str, int]:
    """Every share was worked on exactly once; returns for each topic how many messages came once more.

    :param texts: shares with the beginning of their texts, which are all that were ever shared here.
    """
    parts, shares = made.parts, set(texts)
    jobs = parts.sql("SELECT share_id, stage, state FROM jobs")
    assert Counter((row["share_id"], row["stage"], row["state"]) for row in jobs) == Counter(
        (share, stage, "done") for share in shares for stage in STAGES
    )
    work = parts.sql("SELECT stage, result IS NOT NULL AS finished FROM work")
    assert Counter((row["stage"], row["finished"]) for row in work) == {
        (stage, True): len(shares) for stage in STAGES
    }
    again = {topic: repeats(read_all(parts.cluster, topic), shares) for topic in READY}

    assert billed(made.provider) == Counter((text, stage) for text in texts.values() for stage in STAGES)
    # While the ledger is away holds are given up: nothing was called under those, and the invoice has none of them.
    (calls,) = parts.sql(
        "SELECT count(*) AS calls, count(*) FILTER (WHERE state = 'settled') AS settled, "
        "sum(actual_micro_usd)::bigint AS paid FROM calls WHERE state NOT IN ('denied', 'abandoned', 'released')"
    )
    invoice = made.provider.invoice
    books = {"calls": len(invoice), "settled": len(invoice), "paid": made.provider.total_micro_usd()}
    states = parts.sql("SELECT state, scope, count(*) FROM calls GROUP BY 1, 2")
    assert calls == books, f"{calls}, {books}: {states}"
    report = parts.millrace_json("budget", "audit")
    assert (report["ok"], report["difference_count"]) == (True, 0), report

    dead = {topic: len(read_all(parts.cluster, topic)) for topic in Catalog.load().dead_topics}
    assert dead == dict.fromkeys(dead, 0)
    for table in ("dead_letters", "waiting", "outbox"):
        assert parts.sql(f"SELECT * FROM {table}") == [], table  # noqa: S608 - names of ours
    return again


def repeats(records: Sequence[Message], shares: set[str]) -> int:
    """How many messages are the same event once more; each share has one event, whose copies are the same bytes."""
    events: dict[tuple[str, bytes], set[bytes]] = {}
    for message in records:
        headers = dict(cast("list[tuple[str, bytes]]", message.headers() or []))
        event = (message.key() or b"").decode(), headers["ce_id"]
        events.setdefault(event, set()).add(message.value() or b"")
    assert Counter(share for share, _ in events) == Counter(shares)
    assert {len(copies) for copies in events.values()} <= {1}
    return len(records) - len(events)


def billed(provider: Provider) -> Counter[tuple[str, str]]:
    """How often each text was paid for, by its beginning and the stage."""
    found: Counter[tuple[str, str]] = Counter()
    for line in provider.invoice:
        asked = json.loads(line.raw)
        for text in asked.get("input", ()):
            found[beginning(text), "embed"] += 1
        if "messages" in asked:
            found[beginning(str(asked["messages"])), "summarize"] += 1
    return found


def beginning(text: str) -> str:
    """What tells one text of a load from another."""
    return text[text.index("Text ") :].split(":", 1)[0]
