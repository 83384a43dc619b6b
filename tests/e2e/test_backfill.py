"""A thousand shares at once, through Kafka: few calls, and every share pays for its own tokens."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from millrace.contracts.catalog import Catalog
from millrace.contracts.events import ShareCreated
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.kafka.producer import open_producer
from tests.e2e.apart import Apart, apart
from tests.support.provider import Provider, serve_provider
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

SHARES, AT_ONCE, A_CALL, MORE = 1000, 10, 100, 150


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with serve_provider() as served:
        yield served


@pytest.fixture(scope="module")
def parts(provider: Provider) -> Iterator[Apart]:
    environment = provider.environment(embeds=True) | {"MILLRACE_EMBED_WAIT_S": "8", "MILLRACE_LEASE_S": "4"}
    with apart(environment, {}) as made:
        asyncio.run(share(made, range(SHARES)))
        made.start(("cost_ledger", "embed_agent"))
        yield made


async def share(parts: Apart, numbers: range) -> None:
    with Registry(parts.addresses.registry) as registry:
        codec = await Codec.connect(registry, Catalog.load(), ("share.created",))
        async with open_producer(parts.addresses.cluster) as producer:
            for number in numbers:
                event = ShareCreated(
                    share_id=str(uuid.uuid4()),
                    owner="test",
                    source_kind="text",
                    text=f"The miller keeps gate number {number}, "
                    + "and the wheel turns at the same speed " * (number % 7),
                    platform="web",
                    content_type="article",
                    created_at=datetime.now(UTC),
                )
                raw = codec.encode("share.created", event)
                await producer.send("share.created", key=event.share_id.encode(), value=raw, headers=[])


def jobs(parts: Apart) -> Counter[str]:
    return Counter(str(row["state"]) for row in parts.sql("SELECT state FROM jobs WHERE stage = 'embed'"))


def total(parts: Apart, sql: str) -> int:
    (row,) = parts.sql(f"SELECT coalesce(sum({sql}")
    (value,) = row.values()
    assert isinstance(value, int)
    return value


def test_a_backlog_of_a_thousand_shares_is_bought_in_few_calls(parts: Apart, provider: Provider) -> None:
    until(lambda: jobs(parts) == {"done": SHARES}, "all shares to be embedded", 300)
    calls = len(provider.invoice)
    assert calls <= SHARES / 20
    # The first ten of a minute go at once; then calls are full but for the last of each minute's wait.
    assert calls >= SHARES / A_CALL
    until(
        lambda: total(parts, "actual_micro_usd), 0)::bigint FROM ledger_entries WHERE outcome = 'settled'") > 0,
        "books",
    )
    bill = provider.total_micro_usd()
    assert total(parts, "cost_micro_usd), 0)::bigint FROM work WHERE stage = 'embed'") == bill
    assert total(parts, "cost_micro_usd), 0)::bigint FROM jobs WHERE stage = 'embed'") == bill
    assert total(parts, "cost_micro_usd), 0)::bigint FROM call_parts") == bill
    assert parts.sql("SELECT 1 FROM calls WHERE state <> 'settled'") == []


def test_an_agent_that_dies_in_a_call_for_many_loses_none_and_pays_for_none_again(
    parts: Apart, provider: Provider
) -> None:
    bill, kept = (
        provider.total_micro_usd(),
        total(parts, "cost_micro_usd), 0)::bigint FROM work WHERE stage = 'embed'"),
    )
    assert bill == kept
    provider.gate.clear()
    before = len(provider.invoice)
    asyncio.run(share(parts, range(SHARES, SHARES + MORE)))
    until(lambda: held_for_many(parts), "a call for many shares to be under way", 120)
    provider.wait_for_calls(before + 1)
    parts.workers["embed_agent"].process.kill()
    parts.workers["embed_agent"].process.wait()
    provider.gate.set()
    parts.start(("embed_agent",))
    until(lambda: jobs(parts) == {"done": SHARES + MORE}, "all shares to be embedded", 200)
    until(
        lambda: parts.sql("SELECT 1 FROM calls WHERE NOT told_ledger AND state <> 'denied'") == [], "no call is open"
    )
    settled = total(parts, "actual_micro_usd), 0)::bigint FROM calls WHERE state = 'settled'")
    lost = total(parts, "hold_micro_usd), 0)::bigint FROM calls WHERE state = 'unconfirmed'")
    assert lost > 0, "nobody knows whether the call was answered"
    assert settled == total(parts, "cost_micro_usd), 0)::bigint FROM work WHERE stage = 'embed'")
    assert settled <= provider.total_micro_usd() <= settled + lost
    # The few calls that were under way are all that was asked for twice.
    unconfirmed = len(parts.sql("SELECT 1 FROM calls WHERE state = 'unconfirmed'"))
    assert len(provider.invoice) - before <= MORE / 20 + AT_ONCE + unconfirmed


def held_for_many(parts: Apart) -> bool:
    sql = """
        SELECT 1 FROM calls JOIN pending_texts ON claimed_by = calls.work_key
         WHERE state = 'calling' GROUP BY request_id HAVING count(*) > 20
    """
    return bool(parts.sql(sql))
