"""The cost ledger on the real broker: no cap is exceeded, no request is lost or decided twice, whatever dies."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import KafkaException

from millrace.contracts.events import CostDecision, CostRequest, Event
from millrace.contracts.partitions import partition_for
from millrace.embedded.readyfile import Addresses
from millrace.errors import Refusal, Unavailable
from millrace.ids import RequestId
from millrace.ledger.client import LedgerClient
from millrace.ledger.port import Granted
from millrace.ledger.topics import DECISIONS
from services.cost_ledger.log import Broken, PartitionLog, Stored
from services.cost_ledger.partition import Delivery, PartitionLedger
from services.cost_ledger.state import Logged
from services.cost_ledger.tables import KafkaDecisions
from tests.integration.ledger import PARTITIONS, TestLedger, audit, ledger, running_ledger
from tests.support.ledger_asking import BUDGETS, CAP, HOLD, ask, new_id, usd
from tests.support.waiting import eventually


def decision(request_id: RequestId) -> CostDecision:
    """A grant that no ledger gave."""
    return CostDecision(
        request_id=request_id,
        op="reserve",
        outcome="granted",
        account="aborted",
        scope="transcribe",
        amount_micro_usd=usd(123_456),
        hour_start=datetime(2026, 1, 1, tzinfo=UTC),
        day_start=datetime(2026, 1, 1, tzinfo=UTC),
        request_offset=10**9,
        decided_at=datetime.now(UTC),
    )


@pytest.fixture
async def fresh(stack: Addresses, unique: str, empty_database: str, tmp_path: Path) -> AsyncIterator[TestLedger]:
    """A ledger without workers."""
    async with ledger(stack, unique, empty_database, tmp_path, BUDGETS) as made:
        yield made


@pytest.fixture(scope="module")
async def running(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestLedger]:
    """A ledger with a worker, for tests that use accounts of their own and leave the worker alone."""
    async with running_ledger(stack, tmp_path_factory.mktemp("ledger"), BUDGETS) as made:
        yield made


async def journaled(made: TestLedger, account: str, count: int) -> list[asyncpg.Record]:
    """An account's journal, once it has so many entries."""
    connection = await asyncpg.connect(made.database)
    try:
        async with asyncio.timeout(20):
            while True:
                rows = await connection.fetch(
                    "SELECT * FROM ledger_entries WHERE account = $1 ORDER BY request_offset", account
                )
                if len(rows) >= count:
                    return rows
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def test_reserve_grant_and_settle_reach_journal_and_spend_topic(running: TestLedger) -> None:
    request_id = new_id()
    async with running.client() as client:
        granted = await client.reserve(
            request_id,
            account="first",
            scope="transcribe",
            amount=usd(700_000),
            hold_for=HOLD,
            share_id="share-1",
            model="tiny",
            work_key="transcribe:1",
        )
        refused = await ask(client, "first", 400_000)
        await client.settle(request_id, account="first", scope="transcribe", actual=usd(500_000), confirm=True)

    assert isinstance(granted, Granted)
    assert (granted.request_id, granted.amount, granted.warning) == (request_id, 700_000, None)
    assert isinstance(refused, Refusal)
    assert (refused.cap, refused.needed_micro_usd, refused.left_micro_usd) == ("hour:transcribe", 400_000, 300_000)
    now = datetime.now(UTC)
    assert refused.room_at is not None
    assert timedelta(0) <= refused.room_at - now <= timedelta(hours=1)
    rows = await journaled(running, "first", 3)
    assert [row["outcome"] for row in rows] == ["granted", "denied", "settled"]
    assert (rows[2]["share_id"], rows[2]["model"], rows[2]["settled_change"]) == ("share-1", "tiny", 500_000)
    spend = {key[1:3]: row for key, row in (await running.spend()).items() if key[0] == "first"}
    assert set(spend) == {(scope, window) for scope in ("transcribe", "total") for window in ("hour", "day")}
    row = spend["transcribe", "hour"]
    assert (row.settled_micro_usd, row.held_micro_usd, row.cap_micro_usd, row.calls) == (500_000, 0, CAP, 1)


async def test_a_cap_changed_at_run_time_holds_at_once(running: TestLedger) -> None:
    async with running.client() as client:
        assert isinstance(await ask(client, "raised", 2_000_000), Refusal)
        await client.set_cap(new_id(), account="raised", scope="transcribe", window="hour", cap=usd(3_000_000))
        assert isinstance(await ask(client, "raised", 2_000_000), Granted)
        await client.set_cap(new_id(), account="raised", scope="transcribe", window="hour", cap=usd(2_500_000))
        assert isinstance(await ask(client, "raised", 600_000), Refusal)


async def test_bytes_that_are_no_request_are_answered_and_the_next_one_too(running: TestLedger) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=running.stack.kafka)
    await producer.start()
    for value in (b"", b"\x00\x00", b"\xff" * 40, None):
        await producer.send_and_wait(running.topics.requests, value, key=b"noise")
    await producer.stop()

    async with running.client() as client:
        assert isinstance(await ask(client, "noise", 1), Granted)

    invalid = [d for _, d in await running.decisions() if d.outcome == "invalid" and d.account == "noise"]
    assert len(invalid) == 4


async def test_an_account_of_another_partition_is_not_granted(running: TestLedger) -> None:
    wrong = (partition_for("lost", PARTITIONS) + 1) % PARTITIONS
    request = CostRequest(
        request_id=new_id(),
        op="reserve",
        account="lost",
        scope="transcribe",
        amount_micro_usd=usd(1),
        hold_ms=60_000,
        requested_by="test",
        requested_at=datetime.now(UTC),
    )
    producer = AIOKafkaProducer(bootstrap_servers=running.stack.kafka)
    await producer.start()
    value = running.codec.encode("cost.requests", request)
    await producer.send_and_wait(running.topics.requests, value, key=b"lost", partition=wrong)
    await producer.stop()

    rows = await journaled(running, "lost", 1)

    assert rows[0]["outcome"] == "invalid"
    assert "murmur2" in rows[0]["reason"]


async def test_grants_of_an_aborted_transaction_are_seen_by_nobody(running: TestLedger) -> None:
    partition = partition_for("aborted", PARTITIONS)
    request_id = new_id()
    value = running.codec.encode(DECISIONS, decision(request_id))
    producer = AIOKafkaProducer(bootstrap_servers=running.stack.kafka, transactional_id=f"{running.prefix}forger")
    await producer.start()
    async with running.client(answer_within_s=3) as client:
        asking = asyncio.create_task(ask(client, "aborted", 2_000_000, request_id))
        await producer.begin_transaction()
        for _ in range(20):
            headers = [("ce_requestid", request_id.encode())]
            await producer.send_and_wait(running.topics.decisions, value, partition=partition, headers=headers)
        await producer.abort_transaction()
        await producer.stop()

        assert isinstance(await asking, Refusal), "the answer of the ledger, not the forged one"
        assert isinstance(await ask(client, "aborted", 1), Granted)

    rows = await journaled(running, "aborted", 2)
    assert {row["outcome"] for row in rows} == {"denied", "granted"}
    assert all(row["request_offset"] < 10**9 for row in rows)


async def test_the_log_is_read_up_to_its_end_past_aborted_records(fresh: TestLedger) -> None:
    log = KafkaDecisions(fresh.stack.cluster, fresh.topics.decisions, fresh.codec)
    value = fresh.codec.encode(DECISIONS, decision(new_id()))
    producer = AIOKafkaProducer(bootstrap_servers=fresh.stack.kafka, transactional_id=f"{fresh.prefix}writer")
    await producer.start()
    for _ in range(2):
        async with producer.transaction():
            await producer.send_and_wait(fresh.topics.decisions, value, partition=0)
    await producer.begin_transaction()
    await producer.send_and_wait(fresh.topics.decisions, value, partition=0)
    await producer.abort_transaction()
    await producer.begin_transaction()
    await producer.send_and_wait(fresh.topics.decisions, value, partition=0)
    async with log.ends() as ask_ends, asyncio.timeout(20):
        ends = await ask_ends([0, 1])
        found = [one.offset async for chunk in log.between(0, 1, ends[0]) for one in chunk]
    await producer.abort_transaction()
    await producer.stop()

    assert ends == {0: 6, 1: 0}, "two records, one aborted, a marker each; not the one that is still open"
    assert found == [2]


async def test_without_an_answer_nothing_is_granted_and_the_hold_is_let_go(fresh: TestLedger) -> None:
    request_id = new_id()
    async with fresh.client(answer_within_s=2) as client:
        with pytest.raises(Unavailable, match="nothing was called"):
            await ask(client, "nobody-home", 300_000, request_id)

    ops = [request.op for _, request in await fresh.requests() if request.request_id == request_id]
    assert ops[0] == "reserve"
    assert ops[-1] == "release"

    await fresh.start().ready()
    async with fresh.client() as client:
        assert isinstance(await ask(client, "nobody-home", CAP), Granted), "nothing is held any more"


async def test_a_hot_budget_holds_through_kill_9_in_mid_flood(fresh: TestLedger) -> None:
    worker = fresh.start()
    await worker.ready()
    chance = random.Random(3)  # noqa: S311  # the same flood every time
    settled: dict[str, int] = {}
    denied = 0

    async def one_call(client: LedgerClient) -> None:
        nonlocal denied
        request_id = new_id()
        answer = await ask(client, "hot", chance.randint(1, 20_000), request_id)
        if isinstance(answer, Refusal):
            denied += 1
            return
        fate = chance.random()
        if fate < 0.4:
            await client.release(request_id, account="hot", scope="transcribe")
        elif fate < 0.7:
            settled[request_id] = chance.randint(0, answer.amount)
            await client.settle(request_id, account="hot", scope="transcribe", actual=usd(settled[request_id]))

    async def flood(client: LedgerClient) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(40):
                tasks.create_task(many(client))

    async def many(client: LedgerClient) -> None:
        for _ in range(12):
            await one_call(client)

    async with fresh.client() as one, fresh.client() as two, fresh.client() as three:
        async with asyncio.TaskGroup() as floods:
            for client in (one, two, three):
                floods.create_task(flood(client))
            await eventually(lambda: len(settled) > 30, "the flood to run", 30)
            worker.signal(signal.SIGKILL)
            await worker.ended()
            await fresh.start().ready()
        for request_id, actual in list(settled.items())[-3:]:  # and a last word that is decided after all others
            await one.settle(
                RequestId(request_id), account="hot", scope="transcribe", actual=usd(actual), confirm=True
            )

    found = audit(await fresh.decisions())
    assert max(found.peak.values()) <= CAP
    assert max(found.peak.values()) > CAP * 0.95, "the budget was really contended"
    assert denied > 0
    assert all(len(words) == 1 for words in found.answers.values())
    assert len(found.answers) >= 3 * 40 * 12
    rows = await journaled(
        fresh, "hot", len([d for _, d in await fresh.decisions() if d.account == "hot" and d.outcome != "day-opened"])
    )
    assert sum(row["settled_change"] for row in rows) == sum(settled.values())
    hours = {
        row.start.isoformat(): row
        for row in (await fresh.spend()).values()
        if (row.account, row.scope, row.window) == ("hot", "transcribe", "hour")
    }
    assert {
        ("hot", "transcribe", start): row.settled_micro_usd + row.held_micro_usd for start, row in hours.items()
    } == dict(found.used)


async def test_a_paused_worker_grants_nothing_after_takeover(fresh: TestLedger) -> None:
    paused = fresh.start()
    await paused.ready()
    async with fresh.client() as client:
        await asyncio.gather(*(ask(client, f"account-{n}", 400_000) for n in range(8)))
        paused.signal(signal.SIGSTOP)
        asking = [asyncio.create_task(ask(client, f"account-{n}", 400_000)) for n in range(8)]
        await fresh.start().ready()
        assert all(isinstance(answer, Granted) for answer in await asyncio.gather(*asking))

        paused.signal(signal.SIGCONT)
        answers = await asyncio.gather(*(ask(client, f"account-{n % 8}", 150_000) for n in range(40)))

        assert sum(isinstance(answer, Granted) for answer in answers) == 8, "one more fits into each account's cap"
    assert max(audit(await fresh.decisions()).peak.values()) <= CAP


def logged(offset: int, request_id: str, amount: int = 100) -> Logged:
    request = CostRequest(
        request_id=request_id,
        op="reserve",
        account="a",
        scope="transcribe",
        amount_micro_usd=usd(amount),
        hold_ms=60_000,
        requested_by="test",
        requested_at=datetime.now(UTC),
    )
    return Logged(offset, int(datetime.now(UTC).timestamp() * 1000), "a", request)


def owner(made: TestLedger, name: str) -> PartitionLedger:
    """A partition taken over in this process."""
    taken = PartitionLedger(0, PartitionLog(made.setup(name), 0), lambda _: True)
    taken.open()
    return taken


async def test_a_former_owner_is_fenced_and_its_batch_is_not_there(fresh: TestLedger) -> None:
    old = owner(fresh, "old")
    assert old.decide([logged(0, "one", amount=0)]) is Delivery.DECIDED
    new = owner(fresh, "new")

    with pytest.raises(KafkaException, match="_FENCED"):
        old.decide([logged(1, "two", amount=0)])
    assert new.decide([logged(1, "three", amount=0)]) is Delivery.DECIDED

    last = owner(fresh, "last")
    assert last.next_offset == 2
    answers = [d.request_id for _, d in await fresh.decisions() if d.outcome == "granted"]
    assert answers == ["one", "three"]
    for one in (old, new, last):
        one.close()


async def test_nobody_can_write_any_more_when_a_new_owner_reads(fresh: TestLedger) -> None:
    former = PartitionLog(fresh.setup("former"), 0)
    former.open()
    late = [(b'["cap","a","total","hour"]', b"late")]

    class Taking(PartitionLog):
        def _read_to(self, fence: int) -> Stored:
            for _ in former._writers:
                with pytest.raises(KafkaException, match="_FENCED"):
                    former.mend(late)
            return super()._read_to(fence)

    taken = Taking(fresh.setup("new"), 0)
    assert taken.open().rows == []
    for one in (former, taken):
        one.close()


class Bloated:
    """Encodes decisions to more than the topic takes."""

    def encode(self, topic: str, event: Event) -> bytes:
        return bytes(50_000)


async def test_a_batch_of_which_one_send_fails_is_not_committed(fresh: TestLedger) -> None:
    await fresh.configure(fresh.topics.decisions, "max.message.bytes", str(10_000))
    setup = dataclasses.replace(fresh.setup("torn"), encoder=Bloated())
    torn = PartitionLedger(0, PartitionLog(setup, 0), lambda _: True)
    torn.open()

    with pytest.raises(KafkaException, match="MSG_SIZE_TOO_LARGE"):
        torn.decide([logged(0, "one", amount=0)])

    after = owner(fresh, "after")
    assert after.next_offset == 0, "the rows went through, their decisions did not"
    assert after.state.rows == {}
    for one in (torn, after):
        one.close()


async def test_rows_that_somebody_else_wrote_are_noticed(fresh: TestLedger) -> None:
    taken = owner(fresh, "honest")
    taken.decide([logged(0, "one", amount=0)])
    taken.close()
    producer = AIOKafkaProducer(bootstrap_servers=fresh.stack.kafka)
    await producer.start()
    await producer.send_and_wait(
        fresh.topics.rows, b"[0,0,0,0,0]", key=b'["window","a","total","hour",0]', partition=0
    )
    await producer.stop()

    with pytest.raises(Broken, match=r"digest.*`millrace budget rebuild`"):
        owner(fresh, "next")


async def test_the_core_and_the_tables_can_be_processes_of_their_own(fresh: TestLedger) -> None:
    core, tables = fresh.start("admission"), fresh.start("spend")
    await asyncio.gather(core.ready(), tables.ready())
    async with fresh.client() as client:
        assert isinstance(await ask(client, "apart", 400_000), Granted)
    assert len(await journaled(fresh, "apart", 1)) == 1

    core.signal(signal.SIGTERM)
    assert await core.ended() == 0


@pytest.mark.timeout(180)
async def test_a_ledger_is_taken_over_from_a_topic_that_was_compacted(fresh: TestLedger) -> None:
    """The broker has removed old rows and the tombstones of pruned ones; what is left is the whole state."""
    rows, partition = fresh.topics.rows, partition_for("compacted", PARTITIONS)
    for name, value in (
        ("segment.ms", "500"),
        ("max.compaction.lag.ms", "500"),
        ("delete.retention.ms", "0"),
    ):
        await fresh.configure(rows, name, value)
    first = fresh.start("admission")
    await first.ready()
    async with fresh.client() as client:

        async def compacted() -> bool:
            request_id = new_id()
            assert isinstance(await ask(client, "compacted", 1_000, request_id), Granted)
            await client.settle(request_id, account="compacted", scope="transcribe", actual=usd(10), confirm=True)
            return await asyncio.to_thread(fresh.count, rows, partition) < fresh.ends(rows)[partition] // 4

        async with asyncio.timeout(120):
            calls = 1
            while not await compacted():
                calls += 1
        first.signal(signal.SIGKILL)
        await first.ended()
        await fresh.start("admission").ready()
        left = CAP - calls * 10
        assert isinstance(await ask(client, "compacted", left + 1), Refusal)
        assert isinstance(await ask(client, "compacted", left), Granted)


async def test_a_missing_topic_ends_the_start_with_one_sentence(fresh: TestLedger) -> None:
    fresh.prefix = f"{fresh.prefix}missing."
    worker = fresh.start()

    assert await worker.ended(within_s=40) == 78
    said = worker.log.read_text()
    assert "millrace topics apply" in said
    assert "Traceback" not in said


async def test_a_stop_hands_over_within_seconds(fresh: TestLedger) -> None:
    worker = fresh.start()
    await worker.ready()

    worker.signal(signal.SIGTERM)

    assert await worker.ended(within_s=20) == 0, worker.log.read_text()[-6000:]
