"""The ledger's books on the real parts: an audit finds what is wrong in any place, a rebuild makes it right."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr
from pydantic_core import to_json

from millrace.contracts.events import CostRequest
from millrace.contracts.partitions import partition_for
from millrace.embedded.readyfile import Addresses
from millrace.errors import ConfigurationError, Refusal
from millrace.ledger.topics import REQUESTS, SPEND
from services.cost_ledger.auditor import audit
from services.cost_ledger.connections import Report, open_books
from services.cost_ledger.log import Broken, PartitionLog
from services.cost_ledger.partition import Delivery, PartitionLedger
from services.cost_ledger.rebuilder import rebuild
from services.cost_ledger.rows import HoldKey, HoldRow, encode_key, encode_row
from services.cost_ledger.settings import LedgerSettings
from services.cost_ledger.state import Logged
from tests.integration.ledger import PARTITIONS, TestLedger, ledger
from tests.support.ledger_asking import BUDGETS, ask, new_id, usd
from tests.support.process import Service

ACCOUNT = "audited"
HOME = partition_for(ACCOUNT, PARTITIONS)


def settings_of(made: TestLedger) -> LedgerSettings:
    return LedgerSettings(
        kafka=made.stack.kafka,
        registry=made.stack.registry,
        postgres=SecretStr(made.database),
        ledger_topic_prefix=made.prefix,
        ledger_app_id=made.app_id,
    )


async def audited(made: TestLedger, wait_s: float = 20.0) -> Report:
    async with open_books(settings_of(made)) as books:
        return await audit(books, wait_s)


async def rebuilt(made: TestLedger) -> Report:
    async with open_books(settings_of(made)) as books:
        return await rebuild(books)


async def spend(made: TestLedger) -> None:
    """Every kind of decision once."""
    async with made.client() as client:
        await client.set_cap(new_id(), account=ACCOUNT, scope="transcribe", window="hour", cap=usd(600_000))
        ids = [new_id() for _ in range(5)]
        for one in ids:
            await ask(client, ACCOUNT, 100_000, one)
        await ask(client, ACCOUNT, 100_000, ids[0])
        assert isinstance(await ask(client, ACCOUNT, 200_000), Refusal)
        await client.settle(ids[0], account=ACCOUNT, scope="transcribe", actual=usd(40_000), confirm=True)
        await client.settle(ids[1], account=ACCOUNT, scope="transcribe", actual=usd(140_000), confirm=True)
        await client.release(ids[2], account=ACCOUNT, scope="transcribe")
        await client.unknown(ids[3], account=ACCOUNT, scope="transcribe")
        await client.set_cap(new_id(), account="default", scope="transcribe", window="hour", cap=usd(700_000))
        await ask(client, "elsewhere", 1)


async def end(worker: Service) -> None:
    worker.signal(signal.SIGTERM)
    await worker.ended()


@pytest.fixture
async def stopped(stack: Addresses, unique: str, empty_database: str, tmp_path: Path) -> AsyncIterator[TestLedger]:
    """A ledger that has worked and does not any more."""
    async with ledger(stack, unique, empty_database, tmp_path, BUDGETS) as made:
        worker = made.start()
        await worker.ready()
        await spend(made)
        assert (await audited(made)).ok
        await end(worker)
        yield made


def write(made: TestLedger, topic: str, key: bytes, value: bytes | None) -> None:
    """A row that the ledger has not written."""
    producer = Producer({"bootstrap.servers": made.stack.kafka})
    producer.produce(topic, value, key, HOME)
    assert producer.flush(10) == 0


def break_rows(made: TestLedger) -> None:
    row = HoldRow("transcribe", "held", 5, 0, 0, 10**13)
    log = PartitionLog(made.setup("forger"), HOME)
    log.fence()
    log.mend([(encode_key(HoldKey(ACCOUNT, "forged")), encode_row(row))])
    log.close()


def lose_rows(made: TestLedger) -> None:
    log = PartitionLog(made.setup("eraser"), HOME)
    log.mend([(key, None) for key in log.fence().rows])
    log.close()


async def break_table(made: TestLedger, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    async with open_books(settings_of(made)) as books:
        table = await asyncio.to_thread(books.reader.table, "hour", HOME)
    key = next(key for key in table if key.startswith(f"{ACCOUNT}|transcribe|"))
    changed = change(dict(table[key]))
    topic = f"{made.app_id}-hourly_spend-changelog"
    await asyncio.to_thread(write, made, topic, to_json(key), None if changed is None else to_json(changed))


async def break_spend(made: TestLedger, *, as_of: int | None = None) -> None:
    row = next(row for key, row in (await made.spend()).items() if key[:2] == (ACCOUNT, "total"))
    late = {} if as_of is None else {"as_of_offset": as_of}
    wrong = row.model_copy(update={"settled_micro_usd": row.settled_micro_usd - 1, **late})
    key = f"{row.account}|{row.scope}|{row.window}|{row.start:%Y-%m-%dT%H:%M:%SZ}"
    await asyncio.to_thread(write, made, made.topics.spend, key.encode(), made.codec.encode(SPEND, wrong))


async def break_journal(made: TestLedger, statement: str) -> None:
    connection = await asyncpg.connect(made.database)
    await connection.execute("ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_append_only")
    await connection.execute(statement, ACCOUNT)
    await connection.execute("ALTER TABLE ledger_entries ENABLE TRIGGER ledger_entries_append_only")
    await connection.close()


@pytest.mark.timeout(180)
async def test_whatever_is_wrong_is_found_where_it_is_and_a_rebuild_makes_it_right(stopped: TestLedger) -> None:
    untouched = await rebuilt(stopped)
    assert set(untouched.changed.values()) == {0}, (
        "a rebuild of sound books writes nothing: it is byte by byte the same"
    )

    await asyncio.to_thread(break_rows, stopped)
    await break_table(stopped, lambda row: {**row, "held": row["held"] + 1})
    await break_spend(stopped)
    await break_journal(
        stopped, "UPDATE ledger_entries SET settled_change = 7 WHERE account = $1 AND outcome = 'settled'"
    )
    await break_journal(stopped, "UPDATE ledger_costs SET held = held + 1 WHERE account <> $1")
    found = await audited(stopped, 0)
    assert not found.ok
    places = {one["place"] for one in found.differences}
    assert places == {"cost.rows", "hourly_spend", "cost.spend", "ledger_entries", "ledger_costs", "ledger_use"}
    assert any("forged" in one["about"] for one in found.differences)

    mended = await rebuilt(stopped)
    assert mended.changed == {
        "cost.rows": 1,
        "hourly_spend": 1,
        "daily_spend": 0,
        "cost.spend": 1,
        "ledger_entries": 2,
        "ledger_costs": 1,
        "ledger_use": 0,
    }
    assert (await audited(stopped, 0)).ok


@pytest.mark.timeout(180)
async def test_a_ledger_goes_on_from_rebuilt_books(stopped: TestLedger) -> None:
    """Even when everything but the log was lost."""
    await break_table(stopped, lambda _: None)
    await break_journal(stopped, "DELETE FROM ledger_entries WHERE account = $1")
    await break_journal(stopped, "DELETE FROM ledger_costs WHERE account = $1")
    await asyncio.to_thread(lose_rows, stopped)
    assert (await audited(stopped, 0)).difference_count > 10
    await rebuilt(stopped)
    assert (await audited(stopped, 0)).ok

    await stopped.start().ready()
    async with stopped.client() as client:
        # 40,000 + 140,000 spent, 100,000 held and 100,000 unconfirmed of 600,000
        assert isinstance(await ask(client, ACCOUNT, 220_001), Refusal)
        assert not isinstance(await ask(client, ACCOUNT, 220_000), Refusal)
    assert (await audited(stopped)).ok


def as_a_former_owner(row: dict[str, Any]) -> dict[str, Any]:
    """A row from before some decisions that its window has seen, written late."""
    return {**row, "held": row["held"] + 7, "calls": row["calls"] - 1, "as_of": 4}


@pytest.mark.timeout(180)
async def test_rows_that_a_former_owner_writes_late_do_not_last(stopped: TestLedger) -> None:
    await break_table(stopped, as_a_former_owner)
    await break_spend(stopped, as_of=4)
    await stopped.start().ready()
    assert (await audited(stopped)).ok, "who takes the tables over takes the journal's newer rows"

    await break_table(stopped, as_a_former_owner)
    await break_spend(stopped, as_of=4)
    assert not (await audited(stopped, 0)).ok
    assert (await audited(stopped, 40)).ok, "who has the tables writes over what is older"


@pytest.mark.timeout(120)
async def test_a_rebuild_does_not_touch_a_ledger_that_works(
    stack: Addresses, unique: str, empty_database: str, tmp_path: Path
) -> None:
    async with ledger(stack, unique, empty_database, tmp_path, BUDGETS) as made:
        await made.start().ready()
        with pytest.raises(ConfigurationError, match="stop it first"):
            await rebuilt(made)
        async with made.client() as client:
            assert not isinstance(await ask(client, ACCOUNT, 1), Refusal)


def back_to_the_first(made: TestLedger) -> None:
    """As an operator would who replays a topic."""
    consumer = Consumer({"bootstrap.servers": made.stack.kafka, "group.id": f"{made.app_id}-admission"})
    first = [TopicPartition(made.topics.requests, partition, 0) for partition in range(PARTITIONS)]
    consumer.commit(offsets=first, asynchronous=False)
    consumer.close()


@pytest.mark.timeout(120)
async def test_requests_that_are_delivered_again_from_the_first_change_nothing(stopped: TestLedger) -> None:
    before = [decision for _, decision in await stopped.decisions()]
    await asyncio.to_thread(back_to_the_first, stopped)
    await stopped.start().ready()
    async with stopped.client() as client:
        assert not isinstance(await ask(client, "afterwards", 1), Refusal)
    after = [decision for _, decision in await stopped.decisions()]
    assert [decision.account for decision in after if decision not in before] == ["afterwards"]
    assert (await audited(stopped)).ok


def a_day_later(made: TestLedger, request: CostRequest) -> None:
    """Decide a request as the first one of the next day, and let everything older go past retention."""
    producer = Producer({"bootstrap.servers": made.stack.kafka})
    producer.produce(made.topics.requests, made.codec.encode(REQUESTS, request), ACCOUNT.encode(), HOME)
    assert producer.flush(10) == 0
    opened_at = made.ends(made.topics.decisions)[HOME]
    core = PartitionLedger(HOME, PartitionLog(made.setup("tomorrow"), HOME), lambda _: True)
    core.open()
    at_ms = core.state.position.at + 86_400_000
    assert core.decide([Logged(core.next_offset, at_ms, ACCOUNT, request)]) is Delivery.DECIDED
    kept = {made.topics.decisions: opened_at, made.topics.requests: core.next_offset - 1}
    core.close()
    admin = AdminClient({"bootstrap.servers": made.stack.kafka})
    for done in admin.delete_records([TopicPartition(topic, HOME, at) for topic, at in kept.items()]).values():
        done.result(10)


@pytest.mark.timeout(120)
async def test_caps_older_than_the_log_are_in_force_after_a_rebuild(stopped: TestLedger) -> None:
    """The log begins with the opening of a later day; what is older is past retention."""
    request = CostRequest(
        request_id=new_id(),
        op="reserve",
        account=ACCOUNT,
        scope="transcribe",
        amount_micro_usd=usd(1),
        hold_ms=60_000,
        requested_by="test",
        requested_at=datetime.now(UTC),
    )
    await asyncio.to_thread(a_day_later, stopped, request)
    await asyncio.to_thread(lose_rows, stopped)
    await rebuilt(stopped)
    assert (await audited(stopped, 0)).since is not None
    await stopped.start().ready()
    async with stopped.client() as client:
        refused = await ask(client, ACCOUNT, 600_000)
        assert isinstance(refused, Refusal), "the cap is older than the log"
        assert (refused.cap_micro_usd, refused.left_micro_usd) == (600_000, 599_999)


@pytest.mark.timeout(180)
async def test_rows_that_cannot_be_read_are_differences_and_a_rebuild_removes_them(stopped: TestLedger) -> None:
    await asyncio.to_thread(write, stopped, stopped.topics.rows, b"nonsense", b"nonsense")
    found = await audited(stopped, 0)
    assert ("cost.rows", f"partition {HOME}") in {(one["place"], one["about"]) for one in found.differences}
    core = PartitionLedger(HOME, PartitionLog(stopped.setup("next"), HOME), lambda _: True)
    with pytest.raises(Broken, match="millrace budget rebuild"):
        await asyncio.to_thread(core.open)
    assert (await rebuilt(stopped)).changed["cost.rows"] == 1
    assert (await audited(stopped, 0)).ok
    await asyncio.to_thread(core.open)
    core.close()


async def test_a_table_that_cannot_be_read_says_what_to_do(stopped: TestLedger) -> None:
    topic = f"{stopped.app_id}-hourly_spend-changelog"
    await asyncio.to_thread(write, stopped, topic, b"nonsense", b"nonsense")
    with pytest.raises(Broken, match="write an empty value under its key"):
        await audited(stopped, 0)
    await asyncio.to_thread(write, stopped, topic, b"nonsense", None)
    assert (await audited(stopped, 0)).ok
