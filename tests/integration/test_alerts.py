"""Alerts on the real broker and database: from a reservation to the topic, the table and the API's answer."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path

from aiokafka import AIOKafkaProducer

from millrace.clock import from_millis
from millrace.contracts.events import CostAlert
from millrace.contracts.partitions import partition_for
from millrace.embedded.readyfile import Addresses
from millrace.ids import RequestId
from millrace.ledger.client import LedgerClient
from millrace.ledger.port import Granted
from millrace.models.wordllama import WordLlamaModel
from millrace.money import MicroUSD
from millrace.store.pool import open_pool
from services.api_gateway.alerts import alerts
from services.api_gateway.budget import budget
from services.cost_ledger.alert_outputs import AlertTable
from services.cost_ledger.alerts import id_of
from services.cost_ledger.journal import Journal
from services.cost_ledger.spend import Decided
from tests.integration.gateway import open_gateway, provision
from tests.integration.ledger import PARTITIONS, TestLedger, ledger
from tests.support.waiting import eventually
from tests.unit.ledger.build import NOON, Partition, set_cap
from tests.unit.ledger.build import reserve as reserved

BUDGETS = '[default.transcribe]\nday = "1.00"\n'
ACCOUNT = "watched"


async def reserve(client: LedgerClient, amount: int, account: str = ACCOUNT) -> RequestId:
    request_id = RequestId(str(uuid.uuid4()))
    answer = await client.reserve(
        request_id, account=account, scope="transcribe", amount=MicroUSD(amount), hold_for=timedelta(minutes=20)
    )
    assert isinstance(answer, Granted)
    return request_id


async def raised_so_far(made: TestLedger, count: int) -> list[CostAlert]:
    """All alerts, once there are so many."""

    async def enough() -> list[CostAlert]:
        found = await made.alerts()
        return found if len(found) >= count else []

    return await eventually(enough, f"{count} alerts")


async def test_thresholds_reach_topic_and_api_once_and_a_replay_raises_none(
    stack: Addresses, unique: str, empty_database: str, tmp_path: Path
) -> None:
    async with (
        ledger(stack, unique, empty_database, tmp_path, BUDGETS) as made,
        open_pool(empty_database, size=2) as pool,
    ):
        worker = made.start()
        await worker.ready()
        async with made.client() as client:
            first = await reserve(client, 600_000)
            await raised_so_far(made, 1)
            await reserve(client, 250_000)
            raised = await raised_so_far(made, 2)
            await client.settle(first, account=ACCOUNT, scope="transcribe", actual=MicroUSD(610_000), confirm=True)
            raised = await raised_so_far(made, 3)

            assert [(one.scope, one.window, one.kind, one.percent, one.used_micro_usd) for one in raised] == [
                ("transcribe", "day", "threshold", 50, 600_000),
                ("transcribe", "day", "threshold", 80, 850_000),
                ("transcribe", "day", "overrun", 0, 860_000),
            ]

            newest = await alerts(pool, ACCOUNT, before=None, limit=2)
            assert [(one.kind, one.percent) for one in newest.alerts] == [("overrun", 0), ("threshold", 80)]
            assert newest.next is not None
            oldest = await alerts(pool, ACCOUNT, before=int(newest.next), limit=2)
            assert ([one.percent for one in oldest.alerts], oldest.next) == ([50], None)

            await replay(made)
            # A request behind the replay: when its own alert is there, all before it have been judged.
            await client.set_cap(
                RequestId(str(uuid.uuid4())), account=ACCOUNT, scope="transcribe", window="day", cap=MicroUSD(900_000)
            )
            raised = await raised_so_far(made, 4)

        assert [(one.kind, one.percent, one.cap_micro_usd) for one in raised[3:]] == [("threshold", 80, 900_000)]
        worker.process.kill()
        await worker.ended()
        await made.start().ready()
        async with made.client() as client:
            await reserve(client, 40_000)
            raised = await raised_so_far(made, 5)
        assert [(one.kind, one.percent) for one in raised[4:]] == [("threshold", 100)], "what was said is remembered"
        assert await pool.fetchval("SELECT count(*) FROM ledger_alerts") == 5


async def replay(made: TestLedger) -> None:
    """Send all of the account's requests again, in their order."""
    again = [request for _, request in await made.requests() if request.account == ACCOUNT]
    assert len(again) == 3
    producer = AIOKafkaProducer(bootstrap_servers=made.stack.kafka)
    await producer.start()
    for request in again:
        value = made.codec.encode("cost.requests", request)
        home = partition_for(ACCOUNT, PARTITIONS)
        await producer.send_and_wait(made.topics.requests, value, key=ACCOUNT.encode(), partition=home)
    await producer.stop()


async def test_a_budget_shows_until_when_it_lasts_at_this_rate(migrated: str, unique: str) -> None:
    book, now = Partition(), from_millis(NOON) + timedelta(minutes=30)
    book.ask(set_cap("hour", 1000, unique), set_cap("day", 1000, unique))
    book.ask(*(reserved(f"{unique}{number}", 200, unique) for number in range(3)))
    async with open_pool(migrated, size=2) as pool:
        partition = int(unique[1:6], 16)
        await Journal(pool).write(
            [Decided(partition, 2 * n, d) for n, d in enumerate(book.decisions) if d.outcome != "day-opened"]
        )
        rows = (await budget(pool, unique, now)).rows
    seen = {(row.scope, row.window): row.exhausted_at for row in rows}
    assert seen["transcribe", "hour"] == from_millis(NOON) + timedelta(minutes=50)
    assert seen["transcribe", "day"] == from_millis(NOON) + timedelta(hours=8, minutes=50)
    assert seen["total", "hour"] is None, "it has no cap"


async def test_the_api_lists_alerts_page_by_page(
    stack: Addresses, migrated: str, tmp_path: Path, unique: str
) -> None:
    await provision(stack)
    async with open_gateway(stack, migrated, tmp_path, WordLlamaModel()) as gateway:
        raised = [alert(unique, percent) for percent in (50, 80, 100)]
        await AlertTable(gateway.pool).write(raised)
        await AlertTable(gateway.pool).write([*raised, alert("somebody-else", 50)])
        path = f"/budget/alerts?account={unique}&limit=2"
        first = (await gateway.http.get(path)).json()
        rest = (await gateway.http.get(f"{path}&cursor={first['next']}")).json()
        wrong = [
            (await gateway.http.get(f"/budget/alerts?{query}")).status_code
            for query in ("cursor=x", "cursor=-1", "limit=0", "limit=201", "account=%00")
        ]

    assert [one["percent"] for one in first["alerts"] + rest["alerts"]] == [100, 80, 50], "each once, newest first"
    assert rest["next"] is None
    assert first["alerts"][0]["alert_id"] == id_of(raised[2])
    assert wrong == [422] * 5


def alert(account: str, percent: int) -> CostAlert:
    return CostAlert(
        account=account,
        scope="embed",
        window="hour",
        start=from_millis(NOON),
        kind="threshold",
        percent=percent,
        used_micro_usd=MicroUSD(percent),
        cap_micro_usd=MicroUSD(100),
        raised_at=from_millis(NOON),
    )
