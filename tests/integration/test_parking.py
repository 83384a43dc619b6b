"""Two thousand jobs of three stages that a budget parks, over the ends of hours and days, on the real parts."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from millrace.contracts.budget_api import CapRequest
from millrace.contracts.catalog import Catalog
from millrace.contracts.events import CostDecision, ShareCreated
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.embedded.readyfile import Addresses
from millrace.kafka.producer import Producer, open_producer
from millrace.ledger.client import open_ledger
from millrace.ledger.topics import DECISIONS, REQUESTS
from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from millrace.store.waiting import MOST_UNDER_WAY
from services.api_gateway.caps import CapDesk
from tests.integration.gateway import provision
from tests.support.kafka import read_all
from tests.support.process import Service
from tests.support.stack import own_stack
from tests.support.waiting import eventually

STAGES = ("media", "summarize", "embed")
"""The first pays nobody in the product, but a share's text takes a test no further stages."""
HOUR_S, DAY_S = 10, 30
HOUR_CAP, DAY_CAP = 100, 250
CROWD = 667
"""Shares of one account; each is a job in each of the three stages."""
CONCURRENCY = 4
BUDGETS = "\n".join(
    f"""
    [default.{stage}]
    hour = "0.000{HOUR_CAP}"
    day = "0.000{DAY_CAP}"
    [accounts.crowd.{stage}]
    hour = "0.000{HOUR_CAP}"
    day = "0.000001"
    """
    for stage in STAGES
)

Place = tuple[str, str]
"""A share and a stage."""


@dataclass
class Parked:
    """What happens, seen from outside."""

    pool: asyncpg.Pool[asyncpg.Record]
    stack: Addresses
    codec: Codec
    producer: Producer
    caps: CapDesk
    places: dict[Place, int]
    """Where each job stood in its queue when it waited first."""

    async def share(self, account: str, micro_usd: int = 1) -> None:
        """A text of its own, on which every stage may spend so much."""
        share = str(uuid.uuid4())
        event = ShareCreated(
            share_id=share,
            account=account,
            owner="test",
            source_kind="text",
            title=str(micro_usd),
            text=f"About {share}",
            platform="web",
            content_type="article",
            created_at=datetime.now(UTC),
        )
        raw = self.codec.encode("share.created", event)
        await self.producer.send("share.created", key=share.encode(), value=raw, headers=[])

    async def watch(self) -> None:
        """See who waits, until cancelled."""
        while True:
            for row in await self.pool.fetch("SELECT share_id, stage, place FROM waiting WHERE account = 'crowd'"):
                self.places.setdefault((row["share_id"], row["stage"]), row["place"])
            await asyncio.sleep(0.2)

    async def jobs(self, account: str, state: str) -> int:
        """How many jobs of an account are in a state."""
        sql = "SELECT count(*) FROM jobs WHERE account = $1 AND state = $2"
        count = await self.pool.fetchval(sql, account, state)
        assert isinstance(count, int)
        return count

    async def decisions(self) -> list[CostDecision]:
        """The ledger's answers, those about one account in their order."""
        records = await asyncio.to_thread(read_all, self.stack.kafka, DECISIONS)
        found = [await self.codec.decode(DECISIONS, record.value() or b"") for record in records]
        return [one for one in found if isinstance(one, CostDecision)]


@asynccontextmanager
async def processes(stack: Addresses, folder: Path) -> AsyncIterator[None]:
    """The ledger, with short hours and days, and one worker a stage."""
    budgets = folder / "budgets.toml"
    budgets.write_text(BUDGETS)
    env = {
        "MILLRACE_KAFKA": stack.kafka,
        "MILLRACE_REGISTRY": stack.registry,
        "MILLRACE_POSTGRES": stack.postgres,
        "MILLRACE_BLOBS": str(folder),
        "MILLRACE_BUDGETS": str(budgets),
        "MILLRACE_CONCURRENCY": str(CONCURRENCY),
        "MILLRACE_TEST_HOUR_MS": str(HOUR_S * 1000),
        "MILLRACE_TEST_DAY_MS": str(DAY_S * 1000),
    }
    workers = [Service("tests.integration.ledger_at", env, folder / "ledger.log")]
    try:
        workers += [Service("tests.integration.quick_stage", env, folder / f"{s}.log", s) for s in STAGES]
        await asyncio.gather(*(worker.ready() for worker in workers))
        yield
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait(timeout=10)


@pytest.fixture
async def parked(tmp_path: Path) -> AsyncIterator[Parked]:
    """A stack of its own: stages have fixed topics, and its hours are short."""
    with (
        tempfile.TemporaryDirectory(prefix="millrace-test-") as data,
        own_stack(Path(data)) as stack,
        Registry(stack.registry) as registry,
    ):
        await provision(stack)
        await asyncio.to_thread(migrate, stack.postgres)
        codec = await Codec.connect(registry, Catalog.load(), ("share.created", REQUESTS, DECISIONS))
        async with (
            open_pool(stack.postgres) as pool,
            open_producer(stack.cluster) as producer,
            open_ledger(stack.cluster, codec, producer, source="test") as client,
            processes(stack, tmp_path),
        ):
            yield Parked(pool, stack, codec, producer, CapDesk(pool, client), {})


@pytest.mark.timeout(420)
async def test_parked_jobs_resume_in_order_without_a_herd(parked: Parked) -> None:
    watching = asyncio.create_task(parked.watch())
    await asyncio.gather(*(parked.share("crowd") for _ in range(CROWD)))
    await _an_amount_above_its_cap_says_never_until_the_cap_is_raised(parked)
    raised_at, was_due = await _a_raised_cap_wakes_all_at_once(parked)

    async def all_done() -> bool:
        return await parked.jobs("crowd", "done") == CROWD * len(STAGES)

    await eventually(all_done, "all jobs to be done", 8 * DAY_S)
    watching.cancel()

    decisions = [one for one in await parked.decisions() if one.account == "crowd"]
    granted = [one for one in decisions if one.outcome == "granted"]
    assert len(granted) == len({(one.share_id, one.scope) for one in granted}) == CROWD * len(STAGES)
    settled = await parked.pool.fetchval("SELECT count(*) FROM calls WHERE account = 'crowd' AND state = 'settled'")
    assert settled == len(granted), "each was called once"
    at_once = Counter(one.scope for one in granted if raised_at < one.decided_at < was_due)
    assert set(at_once) == set(STAGES), "none waited for the next day"
    _no_cap_is_exceeded([one for one in granted if one.decided_at > raised_at])
    _in_order(granted, parked.places)
    _no_herd([one for one in decisions if one.outcome == "denied"])


async def _an_amount_above_its_cap_says_never_until_the_cap_is_raised(parked: Parked) -> None:
    await parked.share("dear", HOUR_CAP + 1)

    async def all_parked() -> bool:
        return await parked.jobs("dear", "parked") == len(STAGES)

    await eventually(all_parked, "the dear share to be parked", 120)
    rows = await parked.pool.fetch("SELECT reason, resume_at FROM jobs WHERE account = 'dear'")
    assert all("never under this cap" in row["reason"] and row["resume_at"] is None for row in rows), rows

    wish = CapRequest(account="dear", window="hour", cap=f"0.000{HOUR_CAP + 1}")
    assert (await parked.caps.change("embed", wish)).woken == 1

    async def one_done() -> bool:
        return await parked.jobs("dear", "done") == 1

    await eventually(one_done, "one stage of it to be done", DAY_S)
    assert await parked.jobs("dear", "parked") == len(STAGES) - 1


async def _a_raised_cap_wakes_all_at_once(parked: Parked) -> tuple[datetime, datetime]:
    """When that was, and until when all would have waited otherwise."""

    async def all_wait() -> bool:  # but for one a day, which its cap has room for
        counted = [await parked.jobs("crowd", state) for state in ("parked", "done")]
        sql = "SELECT min(due) > now() + interval '15 s' FROM waiting WHERE account = 'crowd'"
        return sum(counted) == CROWD * len(STAGES) and bool(await parked.pool.fetchval(sql))

    await eventually(all_wait, "the crowd to wait", 180)
    due = await parked.pool.fetchval("SELECT min(due) FROM waiting WHERE account = 'crowd'")
    waiting = await parked.jobs("crowd", "parked")
    assert waiting > 0.95 * CROWD * len(STAGES)
    raised_at = datetime.now(UTC)
    for stage in STAGES:
        wish = CapRequest(account="crowd", window="day", cap=f"0.000{DAY_CAP}")
        woken = (await parked.caps.change(stage, wish)).woken
        assert woken >= CROWD - 2 * DAY_S
    assert isinstance(due, datetime)
    return raised_at, due


def _no_cap_is_exceeded(granted: list[CostDecision]) -> None:
    hours = Counter((one.scope, one.hour_start) for one in granted)
    days = Counter((one.scope, one.day_start) for one in granted)
    assert max(hours.values()) == HOUR_CAP, "an hour was used up, and no more"
    assert max(days.values()) == DAY_CAP, "a day was used up, and no more"
    assert len(days) >= 3 * len(STAGES), "all of them saw three days"


def _in_order(granted: list[CostDecision], places: dict[Place, int]) -> None:
    """Granted in the order in which they began to wait, but for what was under way at once."""
    for stage in STAGES:
        waited = [(one.share_id or "", stage) for one in granted if one.scope == stage]
        waited = [place for place in waited if place in places]
        assert len(waited) >= 0.95 * CROWD, "nearly all had to wait"
        rank = {place: at for at, place in enumerate(sorted(waited, key=places.__getitem__))}
        moved = max(abs(rank[place] - at) for at, place in enumerate(waited))
        assert moved <= MOST_UNDER_WAY + CONCURRENCY, f"{stage}: a job was granted {moved} places from its own"


def _no_herd(denied: list[CostDecision]) -> None:
    """In each hour about as many asked in vain as may be on their way at once."""
    vain = Counter((one.scope, int(one.decided_at.timestamp()) // HOUR_S) for one in denied)
    assert max(vain.values()) <= MOST_UNDER_WAY + CONCURRENCY, vain
