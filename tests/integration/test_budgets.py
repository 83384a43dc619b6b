"""Caps and unconfirmed calls by the API, against a real ledger, its journal and the jobs that wait."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import asyncpg
import httpx
import pytest

from millrace.contracts.api import Problem
from millrace.contracts.budget_api import BudgetAnswer, CapChange, CapsAnswer, Reconciled, UnconfirmedAnswer
from millrace.contracts.share_api import ShareView
from millrace.embedded.readyfile import Addresses
from millrace.errors import Refusal
from millrace.ids import RequestId
from millrace.ledger.client import LedgerClient
from millrace.ledger.port import Granted
from millrace.models.wordllama import WordLlamaModel
from millrace.money import MicroUSD
from tests.integration.gateway import Gateway, open_gateway
from tests.integration.ledger import TestLedger, ledger, running_ledger
from tests.support.waiting import eventually

BUDGETS = '[default.transcribe]\nhour = "1.00"\nday = "10.00"\n\n[default.search]\nhour = "1.00"\n'
HOLD = timedelta(minutes=20)


class Running(NamedTuple):
    """A gateway over a ledger that decides."""

    made: TestLedger
    client: LedgerClient
    gateway: Gateway

    async def put(self, scope: str = "transcribe", **wish: object) -> CapChange:
        response = await self.gateway.http.put(f"/budget/caps/{scope}", json={"window": "hour", **wish})
        assert response.status_code == 200, response.text
        return CapChange.model_validate(response.json())

    async def caps(self, account: str) -> dict[tuple[str, str, str], tuple[int | None, str, str]]:
        answer = CapsAnswer.model_validate(
            (await self.gateway.http.get("/budget/caps", params={"account": account})).json()
        )
        return {
            (cap.account, cap.scope, cap.window): (cap.cap_micro_usd, cap.mode, cap.set_by) for cap in answer.caps
        }

    async def reserve(self, account: str, amount: int, request_id: str | None = None) -> Granted | Refusal:
        return await self.client.reserve(
            RequestId(request_id or str(uuid.uuid4())),
            account=account,
            scope="transcribe",
            amount=MicroUSD(amount),
            hold_for=HOLD,
            model="m",
        )

    async def hour(self, account: str) -> tuple[int, int, int, int | None]:
        """Settled, unconfirmed, overrun and left of this hour's transcribe."""
        answer = BudgetAnswer.model_validate(
            (await self.gateway.http.get("/budget", params={"account": account})).json()
        )
        (row,) = [row for row in answer.rows if (row.scope, row.window) == ("transcribe", "hour")]
        return row.settled_micro_usd, row.unconfirmed_micro_usd, row.overrun_micro_usd, row.left_micro_usd

    async def unconfirmed(self, account: str, **params: str | int) -> UnconfirmedAnswer:
        response = await self.gateway.http.get("/budget/unconfirmed", params={"account": account, **params})
        assert response.status_code == 200, response.text
        return UnconfirmedAnswer.model_validate(response.json())

    async def became_unconfirmed(self, account: str, amounts: list[int]) -> list[str]:
        """Calls whose outcome nobody knows, once the journal has them."""
        ids = [f"{account}-call/{number}" for number in range(len(amounts))]
        for request_id, amount in zip(ids, amounts, strict=True):
            assert isinstance(await self.reserve(account, amount, request_id), Granted)
            await self.client.unknown(RequestId(request_id), account=account, scope="transcribe")
        async with asyncio.timeout(20):
            while len((await self.unconfirmed(account)).calls) < len(ids):  # noqa: ASYNC110  # rows have no events
                await asyncio.sleep(0.05)
        return ids

    async def reconcile(self, request_id: str, actual: str, **more: str) -> httpx.Response:
        path = f"/budget/unconfirmed/{request_id.replace('/', '%2F')}"
        return await self.gateway.http.post(path, json={"actual": actual, **more})

    async def entries(self, request_id: str, outcome: str) -> int:
        count = await self.gateway.pool.fetchval(
            "SELECT count(*) FROM ledger_entries WHERE request_id = $1 AND outcome = $2", request_id, outcome
        )
        assert isinstance(count, int)
        return count


def problem(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    return Problem.model_validate(response.json()).detail


@pytest.fixture(scope="module")
async def running(
    stack: Addresses, model: WordLlamaModel, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """For tests that use accounts of their own."""
    folder = tmp_path_factory.mktemp("ledger")
    async with (
        running_ledger(stack, folder, BUDGETS) as made,
        made.client() as client,
        open_gateway(stack, made.database, folder, model, client) as gateway,
    ):
        yield Running(made, client, gateway)


async def test_a_raised_cap_grants_what_was_denied(running: Running, unique: str) -> None:
    refused = await running.reserve(unique, 3_000_000)
    assert isinstance(refused, Refusal)
    assert refused.cap == "hour:transcribe"

    change = await running.put(account=unique, cap="$5.00")

    assert change.before is not None
    assert (change.before.account, change.before.cap_micro_usd) == ("default", 1_000_000)
    assert change.before.set_by == "budgets-file"
    assert (change.now.account, change.now.cap_micro_usd, change.now.mode) == (unique, 5_000_000, "enforce")
    assert isinstance(await running.reserve(unique, 3_000_000), Granted)
    caps = await running.caps(unique)
    assert caps[unique, "transcribe", "hour"] == (5_000_000, "enforce", "request")
    assert caps["default", "transcribe", "day"] == (10_000_000, "enforce", "budgets-file")
    assert ("default", "transcribe", "hour") not in caps


async def test_a_lowered_cap_denies_with_nothing_left_and_nothing_negative(running: Running, unique: str) -> None:
    assert isinstance(await running.reserve(unique, 900_000), Granted)

    await running.put(account=unique, cap="0.25")

    refused = await running.reserve(unique, 1)
    assert isinstance(refused, Refusal)
    assert (refused.cap, refused.left_micro_usd, refused.cap_micro_usd) == ("hour:transcribe", 0, 250_000)
    assert (await running.hour(unique))[3] == 0


async def test_the_same_wish_again_changes_nothing_and_another_between_counts(running: Running, unique: str) -> None:
    first = await running.put(account=unique, cap="2")
    again = await running.put(account=unique, cap="$2.00")
    assert (first.changed, again.changed) == (True, False)
    assert again.now == again.before == first.now
    await running.put(account=unique, cap=None)
    assert (await running.put(account=unique, cap="2")).changed

    decided = [d.outcome for _, d in await running.made.decisions() if d.account == unique]
    assert decided == ["cap-changed", "unchanged", "cap-changed", "cap-changed"]


async def test_a_warning_cap_grants_above_it_and_a_mode_stays_until_it_is_named(
    running: Running, unique: str
) -> None:
    await running.put(account=unique, cap="0.10", mode="warn")
    assert isinstance(await running.reserve(unique, 500_000), Granted)
    rows = (await running.gateway.http.get("/budget", params={"account": unique})).json()["rows"]
    modes = {(row["scope"], row["window"]): row["mode"] for row in rows}
    assert modes["transcribe", "hour"] == "warn"
    assert modes["transcribe", "day"] == "enforce"
    kept = await running.put(account=unique, cap="0.20")
    assert kept.now.mode == "warn"
    await running.put(account=unique, cap="0.20", mode="enforce")
    assert isinstance(await running.reserve(unique, 1), Refusal)


async def test_a_cap_of_default_holds_in_every_partition(running: Running, unique: str) -> None:
    change = await running.put("search", cap="0.000001")
    assert (change.changed, change.now.account) == (True, "default")
    for number in range(8):  # accounts of all partitions
        refused = await running.client.reserve(
            RequestId(str(uuid.uuid4())),
            account=f"{unique}-{number}",
            scope="search",
            amount=MicroUSD(2),
            hold_for=HOLD,
        )
        assert isinstance(refused, Refusal)
    assert (await running.put("search", cap="0.000001")).changed is False


@pytest.mark.parametrize(
    ("scope", "wish", "sentence"),
    [
        ("transcibe", {"cap": "1"}, "The parameter scope is not valid"),
        ("transcribe", {"cap": 1.5}, "The parameter cap is not valid"),
        ("transcribe", {"cap": "1e3"}, "US dollars with at most six decimals"),
        ("transcribe", {"cap": "-1"}, "US dollars with at most six decimals"),
        ("transcribe", {"cap": "0.0000001"}, "US dollars with at most six decimals"),
        ("transcribe", {"cap": "10000000.01"}, "at most ten million dollars"),
        ("transcribe", {}, "The parameter cap is not valid"),
        ("transcribe", {"cap": "1", "window": "week"}, "The parameter window is not valid"),
        ("transcribe", {"cap": "1", "account": "a|b"}, "The parameter account is not valid"),
        ("transcribe", {"cap": "1", "limit": "2"}, "The parameter limit is not valid"),
    ],
)
async def test_a_wish_that_makes_no_sense_is_one_sentence(
    running: Running, scope: str, wish: dict[str, object], sentence: str
) -> None:
    response = await running.gateway.http.put(f"/budget/caps/{scope}", json={"window": "hour", **wish})
    assert sentence in problem(response, 422)


async def test_a_reconciled_call_is_settled_once_in_journal_and_views(running: Running, unique: str) -> None:
    billed, free, dearer = await running.became_unconfirmed(unique, [300_000, 200_000, 100_000])
    assert (await running.hour(unique))[:3] == (0, 600_000, 0)

    first = await running.reconcile(billed, "$0.25")
    assert Reconciled.model_validate(first.json()).actual_micro_usd == 250_000
    assert (await running.hour(unique))[:3] == (250_000, 300_000, 0)
    again = await running.reconcile(billed, "0.25", account=unique)
    assert again.json() == {**first.json(), "repeated": True}
    assert await running.entries(billed, "reconciled") == 1

    assert (await running.reconcile(free, "0")).status_code == 200
    assert (await running.reconcile(dearer, "0.15")).json()["overrun_micro_usd"] == 50_000
    assert await running.hour(unique) == (400_000, 0, 50_000, 600_000)
    assert (await running.unconfirmed(unique)).calls == []

    assert "reconciled at $0.25 already" in problem(await running.reconcile(billed, "0.30"), 409)
    assert (await running.hour(unique))[0] == 400_000


async def test_a_reconciled_call_reads_so_in_its_shares_receipt(running: Running, unique: str) -> None:
    pool, owner = running.gateway.pool, running.gateway.parts.owner
    (billed,) = await running.became_unconfirmed(unique, [300_000])
    await pool.execute(
        """
        INSERT INTO shares (share_id, account, owner, source_kind, platform, content_type, created_at)
        VALUES ($1, $1, $2, 'text', 'web', 'article', now())
        """,
        *(unique, owner),
    )
    await pool.execute(
        "INSERT INTO jobs (share_id, stage, account, state, work_key) VALUES ($1, 'transcribe', $1, 'failed', $1)",
        unique,
    )
    await pool.execute(
        """
        INSERT INTO calls
            (request_id, work_key, call_no, attempt, account, scope, share_id, model, state, hold_micro_usd)
        VALUES ($1, $2, 0, 1, $2, 'transcribe', $2, 'm', 'unconfirmed', 300000)
        """,
        *(billed, unique),
    )

    async def receipt() -> tuple[str, int | None]:
        share = ShareView.model_validate((await running.gateway.http.get(f"/shares/{unique}")).json())
        return share.receipts[0].state, share.receipts[0].actual_micro_usd

    assert await receipt() == ("unconfirmed", None)
    await running.reconcile(billed, "0.25")
    await running.reconcile(billed, "0.25")
    assert await receipt() == ("reconciled", 250_000)


async def test_what_is_not_unconfirmed_cannot_be_reconciled(running: Running, unique: str) -> None:
    held = f"{unique}-held"
    await running.reserve(unique, 10, held)
    await eventually(lambda: running.entries(held, "granted"), "the grant to be in the journal")
    assert "still held" in problem(await running.reconcile(held, "0"), 409)
    assert "no call with this request id" in problem(await running.reconcile(f"{unique}-none", "0"), 404)
    assert "no call with this request id" in problem(await running.reconcile(held, "0", account="other"), 404)
    assert "The parameter actual" in problem(await running.reconcile(held, "free"), 422)

    (late,) = await running.became_unconfirmed(unique, [20])
    await running.client.settle(
        RequestId(late), account=unique, scope="transcribe", actual=MicroUSD(15), confirm=True
    )
    assert "settled at $0.000015 already" in problem(await running.reconcile(late, "0"), 409)
    assert (await running.reconcile(late, "0.000015")).json()["repeated"] is True


async def test_unconfirmed_calls_are_listed_oldest_first_in_pages(running: Running, unique: str) -> None:
    ids = await running.became_unconfirmed(unique, [30, 20, 10])
    first = await running.unconfirmed(unique, limit=2)
    assert [(call.request_id, call.amount_micro_usd, call.model) for call in first.calls] == [
        (ids[0], 30, "m"),
        (ids[1], 20, "m"),
    ]
    assert first.next is not None
    await running.reconcile(ids[1], "0")
    second = await running.unconfirmed(unique, limit=2, cursor=first.next)
    assert [call.request_id for call in second.calls] == [ids[2]]
    assert second.next is None
    wrong = await running.gateway.http.get("/budget/unconfirmed", params={"cursor": "1.2"})
    assert "cursor" in problem(wrong, 400)


async def park(pool: asyncpg.Pool[asyncpg.Record], account: str, cap: str, needed: int, state: str = "parked") -> str:
    """A stage that waits for an hour."""
    share_id = uuid.uuid4().hex
    await pool.execute(
        """
        INSERT INTO shares (share_id, account, owner, source_kind, platform, content_type, created_at)
        VALUES ($1, $2, 'o', 'text', 'web', 'article', now())
        """,
        share_id,
        account,
    )
    await pool.execute(
        "INSERT INTO jobs (share_id, stage, account, state, cap, needed_micro_usd) VALUES ($1, $2, $3, $4, $5, $6)",
        *(share_id, "transcribe", account, state, cap, needed),
    )
    await pool.execute(
        """
        INSERT INTO waiting (due, stage, share_id, account, scope, topic, value)
        VALUES (now() + interval '1 hour', 'transcribe', $1, $2, 'transcribe', 't', '')
        """,
        share_id,
        account,
    )
    return share_id


async def due(pool: asyncpg.Pool[asyncpg.Record]) -> set[str]:
    """Shares with a stage that is due; they wait no longer."""
    rows = await pool.fetch("DELETE FROM waiting WHERE due <= now() RETURNING share_id")
    return {row["share_id"] for row in rows}


async def test_a_raised_cap_wakes_the_work_that_it_refused_and_no_other(running: Running, unique: str) -> None:
    pool, own, other = running.gateway.pool, f"{unique}-own", f"{unique}-other"
    mine = await park(pool, own, "hour:transcribe", 2_000_000)
    too_dear = await park(pool, own, "hour:transcribe", 9_000_000)
    by_day = await park(pool, own, "day:transcribe", 2_000_000)
    retried = await park(pool, own, "hour:transcribe", 2_000_000, state="waiting")
    others = await park(pool, other, "hour:transcribe", 2_000_000)

    assert (await running.put(account=own, cap="3")).woken == 1
    assert await due(pool) == {mine}
    assert (await running.put(cap="2.50")).woken == 1, "default's cap is not that of an account with its own"
    assert await due(pool) == {others}
    assert (await running.put(account=own, cap="3", mode="warn")).woken == 1
    assert await due(pool) == {too_dear}
    left = {row["share_id"] for row in await pool.fetch("SELECT share_id FROM waiting WHERE account = $1", own)}
    assert left == {by_day, retried}
    await running.put(cap="1.00")


async def test_a_silent_ledger_is_a_503_that_says_what_to_do(
    stack: Addresses, running: Running, model: WordLlamaModel, unique: str, tmp_path: Path
) -> None:
    (call,) = await running.became_unconfirmed(unique, [10])
    async with open_gateway(stack, running.made.database, tmp_path, model) as gateway:
        response = await gateway.http.put("/budget/caps/embed", json={"window": "day", "cap": "1"})
        assert "the cap may still change. Ask again" in problem(response, 503)
        response = await gateway.http.post(f"/budget/unconfirmed/{call}", json={"actual": "0"})
        assert "may still be reconciled. Ask again" in problem(response, 503)
    assert [one.request_id for one in (await running.unconfirmed(unique)).calls] == [call]


async def test_a_persons_cap_outlives_restarts_until_the_file_itself_changes(
    stack: Addresses, unique: str, empty_database: str, tmp_path: Path, model: WordLlamaModel
) -> None:
    key = ("default", "transcribe", "hour")
    async with ledger(stack, unique, empty_database, tmp_path, BUDGETS) as made, made.client() as client:
        worker = made.start()
        await worker.ready()
        async with open_gateway(stack, empty_database, tmp_path, model, client) as gateway:
            running = Running(made, client, gateway)
            await running.put(cap="4")
            for hour, cap, set_by in (("1.00", 4_000_000, "request"), ("1.50", 1_500_000, "budgets-file")):
                worker.signal(signal.SIGTERM)
                await worker.ended()
                made.budgets = BUDGETS.replace('"1.00"', f'"{hour}"', 1)
                worker = made.start()
                await worker.ready()
                # The request after the file's: once it is in the journal, so is what the file said.
                await running.put("embed", cap=hour)
                assert (await running.caps("default"))[key] == (cap, "enforce", set_by)
