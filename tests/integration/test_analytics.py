"""Analytics over a real journal, in the form that the recorder writes: every sum is the ledger's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.spending import Spending, share_id, write_journal, write_work
from millrace.clock import ManualClock
from millrace.cluster import Cluster
from millrace.contracts.analytics_api import (
    BreakEvenAnswer,
    BudgetStatusAnswer,
    CallsAnswer,
    CostCall,
    CostsAnswer,
    CostSums,
    FetchAnswer,
    GroupBy,
    Kind,
    MetricsAnswer,
    ModelsAnswer,
    PipelineAnswer,
    StageResult,
    TasksAnswer,
    UseAnswer,
    WindowName,
)
from millrace.contracts.budget_api import BudgetAnswer
from millrace.embedded.readyfile import Addresses
from millrace.models.wordllama import WordLlamaModel
from millrace.store.migrate import migrate
from services.api_gateway.app import create_app
from services.api_gateway.guard import LOOPBACK
from services.api_gateway.lags import Lags
from services.api_gateway.principal import Principal
from services.api_gateway.who import signed_in
from tests.integration.gateway import Gateway, open_gateway
from tests.support.database import own_database

NOW: Final = datetime(2031, 5, 14, 17, 42, tzinfo=UTC)
BASE: Final = "/api/ml/analytics"
ENTRIES: Final = 3_000
SCOPES: Final[dict[Kind, list[str]]] = {
    "transcription": ["transcribe"],
    "llm": ["summarize"],
    "vector": ["embed", "search"],
}
_LEDGER: Final = """
SELECT coalesce(sum(settled_micro_usd), 0)::bigint AS settled_micro_usd,
       coalesce(sum(held_micro_usd), 0)::bigint AS held_micro_usd,
       coalesce(sum(unconfirmed_micro_usd), 0)::bigint AS unconfirmed_micro_usd,
       coalesce(sum(overrun_micro_usd), 0)::bigint AS overrun_micro_usd, coalesce(sum(calls), 0)::bigint AS calls
"""


@pytest.fixture(scope="module")
async def gateway(
    stack: Addresses, model: WordLlamaModel, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A gateway over six weeks of spending, at `NOW`; its tests change nothing."""
    async with own_database(stack.postgres) as database:
        await asyncio.to_thread(migrate, database)
        spending = Spending(NOW, days=42, seed=7, owners=3)
        decisions = list(spending.decisions(ENTRIES))
        connection = await asyncpg.connect(database)
        await write_journal(connection, decisions)
        await write_work(connection, decisions, spending)
        await connection.close()
        folder: Path = tmp_path_factory.mktemp("analytics")
        async with open_gateway(stack, database, folder, model) as opened:
            parts = replace(opened.parts, clock=ManualClock(NOW))
            transport = httpx.ASGITransport(create_app(parts, LOOPBACK), raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                yield replace(opened, parts=parts, http=http)


async def got(gateway: Gateway, path: str, **params: str | int) -> bytes:
    response = await gateway.http.get(path, params=params)
    assert response.status_code == 200, response.text
    return response.content


def added(parts: list[CostSums]) -> dict[str, int]:
    return {name: sum(getattr(one, name) for one in parts) for name in CostSums.model_fields}


async def by_ledger(gateway: Gateway, view: str, scopes: list[str], answer: CostsAnswer) -> dict[str, int]:
    """What the ledger's own tables come to between the ends of an answer."""
    row = await gateway.pool.fetchrow(
        f"{_LEDGER} FROM {view} WHERE scope = ANY ($1) AND start >= $2 AND start < $3 "
        "AND ($4::text IS NULL OR account = $4)",
        scopes,
        answer.since,
        answer.until,
        answer.account,
    )
    return dict(row or {})


@pytest.mark.parametrize("kind", ["transcription", "llm", "vector"])
@pytest.mark.parametrize(("window", "view"), [("1h", "hourly"), ("24h", "hourly"), ("7d", "daily"), ("30d", "daily")])
async def test_costs_are_the_ledgers_own_to_the_micro_dollar(
    gateway: Gateway, kind: Kind, window: WindowName, view: str
) -> None:
    groupings: tuple[GroupBy, ...] = ("hour", "day", "model", "stage")
    for group_by in groupings:
        answer = CostsAnswer.model_validate_json(
            await got(gateway, f"{BASE}/{kind}/costs", window=window, group_by=group_by)
        )
        expected = await by_ledger(gateway, f"ledger_{view}", SCOPES[kind], answer)
        assert added([answer.totals]) == expected
        assert added(list(answer.groups)) == expected
        assert added(list(answer.series)) == expected
        assert sum(group.percent for group in answer.groups) == (100 if answer.groups else 0)
        assert len(answer.series) == {"1h": 1, "24h": 24, "7d": 7, "30d": 30}[window]
        assert window != "30d" or expected["settled_micro_usd"] > 1_000_000, "the comparison is about something"


async def test_each_day_of_a_series_is_the_ledgers_day(gateway: Gateway) -> None:
    answer = CostsAnswer.model_validate_json(
        await got(gateway, f"{BASE}/vector/costs", window="30d", account="research")
    )
    rows = await gateway.pool.fetch(
        f"{_LEDGER}, start FROM ledger_daily WHERE scope = ANY ($1) AND account = $2 AND start >= $3 GROUP BY start",
        SCOPES["vector"],
        "research",
        answer.since,
    )
    days = {row["start"]: row["settled_micro_usd"] for row in rows}
    assert [bucket.settled_micro_usd for bucket in answer.series] == [days.get(b.start, 0) for b in answer.series]
    assert answer.units is None


async def test_units_are_those_of_the_works_that_finished(gateway: Gateway) -> None:
    speech = CostsAnswer.model_validate_json(await got(gateway, f"{BASE}/transcription/costs", window="30d"))
    works = await gateway.pool.fetchval(
        "SELECT count(*) FROM work WHERE stage = 'transcribe' AND finished_at >= $1 AND finished_at < $2",
        speech.since,
        speech.until,
    )
    assert speech.units is not None
    assert (speech.units.audio_ms, speech.units.tokens) == (60_000 * works, None)
    texts = CostsAnswer.model_validate_json(await got(gateway, f"{BASE}/llm/costs", window="30d"))
    assert texts.units is not None
    assert texts.units.tokens is not None
    assert texts.units.tokens % 1_000 == 0


async def test_pages_of_calls_are_all_calls_once_and_add_up_to_the_totals(gateway: Gateway) -> None:
    totals = CostsAnswer.model_validate_json(await got(gateway, f"{BASE}/vector/costs", window="30d")).totals
    calls: list[CostCall] = []
    cursor: dict[str, str] = {}
    while True:
        page = CallsAnswer.model_validate_json(
            await got(gateway, f"{BASE}/vector/costs/detailed", window="30d", limit=200, **cursor)
        )
        calls += page.calls
        if page.next is None:
            break
        cursor = {"cursor": page.next}
    assert len({call.request_id for call in calls}) == len(calls) == totals.calls
    assert [call.granted_at for call in calls] == sorted((call.granted_at for call in calls), reverse=True)
    assert sum(call.actual_micro_usd or 0 for call in calls) == totals.settled_micro_usd
    assert sum(call.overrun_micro_usd for call in calls) == totals.overrun_micro_usd
    standing = {state: sum(c.hold_micro_usd for c in calls if c.state == state) for state in ("held", "unconfirmed")}
    assert standing == {"held": totals.held_micro_usd, "unconfirmed": totals.unconfirmed_micro_usd}
    assert {call.state for call in calls} == {"held", "settled", "released", "unconfirmed"}


async def test_use_by_user_adds_up_to_the_whole_and_knows_what_has_no_share(gateway: Gateway) -> None:
    answer = UseAnswer.model_validate_json(await got(gateway, f"{BASE}/usage", window="30d"))
    whole = await gateway.pool.fetchval(
        "SELECT sum(settled_micro_usd)::bigint FROM ledger_daily WHERE scope <> 'total' AND start >= $1", answer.since
    )
    assert sum(user.settled_micro_usd for user in answer.by_user) == whole
    assert sum(bucket.settled_micro_usd for bucket in answer.series) == whole
    assert {user.user for user in answer.by_user} == {None, "owner-0", "owner-1", "owner-2"}
    assert sum(user.percent for user in answer.by_user) == 100
    assert sum(bucket.shares for bucket in answer.series) > 0


async def test_use_by_user_is_by_the_parts_of_calls(gateway: Gateway) -> None:
    answer = UseAnswer.model_validate_json(await got(gateway, f"{BASE}/usage", window="30d"))
    entries = await gateway.pool.fetch(
        "SELECT request_id, share_id, settled_change AS amount FROM ledger_entries WHERE day_start >= $1",
        answer.since,
    )
    parts = await gateway.pool.fetch("SELECT request_id, share_id, cost_micro_usd AS amount FROM call_parts")
    divided = {row["request_id"] for row in parts if any(e["request_id"] == row["request_id"] for e in entries)}
    shares = await gateway.pool.fetch("SELECT share_id, owner FROM shares")
    owners = {row["share_id"]: row["owner"] for row in shares}
    expected: dict[str | None, int] = {}
    for row in (
        *(row for row in entries if row["request_id"] not in divided),
        *(row for row in parts if row["request_id"] in divided),
    ):
        owner = owners.get(row["share_id"])
        expected[owner] = expected.get(owner, 0) + row["amount"]
    assert len(divided) > 3
    assert {user.user: user.settled_micro_usd for user in answer.by_user} == expected


async def test_models_are_compared_with_what_the_ledger_paid(gateway: Gateway) -> None:
    answer = ModelsAnswer.model_validate_json(await got(gateway, f"{BASE}/models", window="30d"))
    whole = await gateway.pool.fetchval(
        "SELECT sum(settled_micro_usd)::bigint FROM ledger_daily WHERE scope <> 'total' AND start >= $1", answer.since
    )
    assert sum(one.settled_micro_usd for one in answer.models) == whole
    speech = next(one for one in answer.models if one.model == "whisper-1")
    assert speech.latency is not None
    assert 0 < speech.latency.p50_ms <= speech.latency.p95_ms < 50_000
    assert 0 < speech.failed < speech.looked_at
    assert speech.micro_usd_per_audio_hour is not None


async def test_tasks_tell_states_and_durations_of_every_stage(gateway: Gateway) -> None:
    answer = TasksAnswer.model_validate_json(await got(gateway, f"{BASE}/tasks/summary", window="30d"))
    assert [stage.stage for stage in answer.stages] == list(gateway.parts.catalog.stages)
    rows = await gateway.pool.fetch(
        "SELECT state, count(*) AS jobs FROM jobs "
        "WHERE stage = 'embed' AND updated_at >= $1 AND updated_at < $2 GROUP BY state",
        answer.since,
        answer.until,
    )
    embed = answer.stages[-1]
    assert embed.states == {row["state"]: row["jobs"] for row in rows}
    assert embed.durations is not None
    assert 0 <= embed.durations.p50_ms <= embed.durations.p95_ms < 90_000
    assert embed.retries == 3 * embed.states["failed"]


async def test_a_budgets_status_is_that_of_the_budget_with_what_is_parked(gateway: Gateway) -> None:
    answer = BudgetStatusAnswer.model_validate_json(await got(gateway, f"{BASE}/budget/status"))
    budget = BudgetAnswer.model_validate_json(await got(gateway, "/budget"))
    assert [dict(row) for row in budget.rows] == [
        {name: getattr(row, name) for name in type(budget.rows[0]).model_fields} for row in answer.rows
    ]
    for window, start in (("hour", NOW.replace(minute=0)), ("day", NOW.replace(hour=0, minute=0))):
        view = {"hour": "ledger_hourly", "day": "ledger_daily"}[window]
        rows = await gateway.pool.fetch(f"SELECT * FROM {view} WHERE account = 'default' AND start = $1", start)  # noqa: S608  # constants
        assert {row["scope"]: row["settled_micro_usd"] for row in rows} == {
            row.scope: row.settled_micro_usd for row in answer.rows if row.window == window
        }
    assert sum(one.jobs for one in answer.parked) > 0
    assert answer.accounts == ["default", "research"]


async def test_break_even_is_about_what_apis_were_paid(gateway: Gateway) -> None:
    asked = {"window": "30d", "gpu_usd_per_hour": "0.60", "realtime_factor": "0.05"}
    answer = BreakEvenAnswer.model_validate_json(await got(gateway, f"{BASE}/break-even", **asked))
    paid = await gateway.pool.fetchval(
        "SELECT sum(settled_change)::bigint FROM ledger_entries WHERE scope = 'transcribe' AND model <> 'small' "
        "AND day_start >= $1",
        answer.since,
    )
    assert (answer.api_micro_usd, answer.price_from) == (paid, "paid")
    assert answer.gpu_rented_micro_usd == 600_000 * 24 * 30
    for wrong in (
        {"gpu_usd_per_hour": "1e3"},
        {"realtime_factor": "NaN"},
        {"realtime_factor": "0"},
        {"window": "2h"},
    ):
        assert (await gateway.http.get(f"{BASE}/break-even", params={**asked, **wrong})).status_code == 422


async def test_a_stages_result_is_shown_to_admins_and_nobody_elses_words_get_in(gateway: Gateway) -> None:
    row = await gateway.pool.fetchrow(
        "SELECT share_id FROM jobs WHERE stage = 'transcribe' AND state = 'done' LIMIT 1"
    )
    assert row is not None
    for name in ("transcription", "transcribe"):
        answer = StageResult.model_validate_json(await got(gateway, f"{BASE}/{name}/result/{row['share_id']}"))
        assert (answer.stage, answer.state) == ("transcribe", "done")
        assert isinstance(answer.result, dict)
        assert answer.result["billed_ms"] == 60_000
    for path in ("transcription/result/%00", f"total/result/{share_id(7, 0)}", "%00/result/x", "embed/result/nobody"):
        assert (await gateway.http.get(f"{BASE}/{path}")).status_code == 404
    for path in ("%00/costs", "vector/costs?account=%00", "vector/costs?group_by=user", "usage?window=%00"):
        assert (await gateway.http.get(f"{BASE}/{path}")).status_code == 422
    assert (await gateway.http.get(f"{BASE}/vector/costs/detailed", params={"cursor": "\0"})).status_code == 400


async def test_users_see_results_of_their_own_shares_and_no_costs(gateway: Gateway) -> None:
    row = await gateway.pool.fetchrow(
        "SELECT share_id, shares.owner FROM jobs JOIN shares USING (share_id) "
        "WHERE stage = 'embed' AND state = 'done' LIMIT 1"
    )
    assert row is not None
    for owner, status in ((row["owner"], 200), ("somebody-else", 404)):
        app = create_app(gateway.parts, LOOPBACK)
        app.dependency_overrides[signed_in] = partial(Principal, owner, frozenset({"user"}), None)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            assert (await http.get(f"{BASE}/vector/result/{row['share_id']}")).status_code == status
            for path in (
                "vector/costs",
                "vector/costs/detailed",
                "tasks/summary",
                "budget/status",
                "usage",
                "models",
            ):
                assert (await http.get(f"{BASE}/{path}")).status_code == 403, path
            for path in ("/api/pipeline", "/api/shares/metrics/ytdlp"):
                assert (await http.get(path)).status_code == 403, path
            assert (await http.get("/api/ml/metrics/json")).status_code == 200


async def test_a_lag_is_what_a_group_has_not_committed(stack: Addresses, gateway: Gateway, unique: str) -> None:
    producer = Producer({"bootstrap.servers": stack.kafka})
    topic = f"{unique}.requested"
    admin = AdminClient({"bootstrap.servers": stack.kafka})
    await asyncio.to_thread(admin.create_topics([NewTopic(topic, 1, 1)])[topic].result, 30)
    try:
        for number in range(5):
            producer.produce(topic, str(number).encode())
        assert await asyncio.to_thread(producer.flush, 30) == 0
        consumer = Consumer({"bootstrap.servers": stack.kafka, "group.id": f"millrace-{unique}-agent"})
        await asyncio.to_thread(consumer.commit, offsets=[TopicPartition(topic, 0, 2)], asynchronous=False)
        consumer.close()
        lags = Lags(stack.cluster)
        assert await lags.of([unique, "nobody"]) == {unique: 3}
    finally:
        await asyncio.to_thread(admin.delete_topics([topic])[topic].result, 30)


async def test_fetching_is_told_by_platform(gateway: Gateway) -> None:
    answer = FetchAnswer.model_validate_json(await got(gateway, "/api/shares/metrics/ytdlp", window="30d"))
    assert [one.platform for one in answer.platforms] == ["podcast", "tiktok", "web", "youtube"]
    shares = await gateway.pool.fetchval(
        "SELECT count(*) FROM shares WHERE created_at >= $1 AND created_at < $2", answer.since, answer.until
    )
    assert sum(one.states["done"] for one in answer.platforms) == shares


async def test_the_pipeline_shows_every_stage_and_lives_without_kafka(gateway: Gateway) -> None:
    answer = PipelineAnswer.model_validate_json(await got(gateway, "/api/pipeline"))
    parked = await gateway.pool.fetchval("SELECT count(*) FROM jobs WHERE stage = 'embed' AND state = 'parked'")
    assert [stage.stage for stage in answer.stages] == list(gateway.parts.catalog.stages)
    assert answer.stages[-1].parked == parked > 0
    for stage in answer.stages:
        jobs = await gateway.pool.fetch("SELECT state, attempt, updated_at FROM jobs WHERE stage = $1", stage.stage)
        lately = [job for job in jobs if job["updated_at"] >= NOW - timedelta(hours=1)]
        assert stage.retries_last_hour == sum(job["attempt"] for job in lately)
        assert stage.done_last_hour == sum(job["state"] == "done" for job in lately)
        day = [job for job in jobs if job["updated_at"] >= NOW - timedelta(days=1)]
        assert stage.done_last_day == sum(job["state"] == "done" for job in day)
        for state in ("waiting", "queued", "running", "parked", "failed"):
            assert getattr(stage, state) == sum(job["state"] == state for job in jobs), (stage.stage, state)
    away = replace(gateway.parts, lags=Lags(Cluster("127.0.0.1:1")))
    transport = httpx.ASGITransport(create_app(away, LOOPBACK), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        without = PipelineAnswer.model_validate_json((await http.get("/api/pipeline")).content)
    assert [stage.lag for stage in without.stages] == [None] * len(answer.stages)
    assert [stage.parked for stage in without.stages] == [stage.parked for stage in answer.stages]


async def test_metrics_are_the_same_in_both_forms(gateway: Gateway) -> None:
    text = (await got(gateway, "/api/ml/metrics/prometheus")).decode()
    found = MetricsAnswer.model_validate(json.loads(await got(gateway, "/api/ml/metrics/json")))
    names = {sample.name for metric in found.metrics for sample in metric.samples}
    assert {"ml_tasks", "python_info"} & names
    assert all(f"\n{name}" in f"\n{text}" for name in names)
