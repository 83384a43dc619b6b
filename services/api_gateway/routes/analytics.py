"""GET /api/ml/analytics/…: costs, tasks, budgets, use and models, for admins; results of stages for owners, too."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from millrace.contracts.analytics_api import (
    BreakEvenAnswer,
    BudgetStatusAnswer,
    CallsAnswer,
    CostsAnswer,
    GroupBy,
    Kind,
    ModelsAnswer,
    StageResult,
    TasksAnswer,
    UseAnswer,
    WindowName,
)
from millrace.contracts.api import Answer, Problem
from millrace.contracts.budget_api import Dollars
from millrace.contracts.events import DEFAULT_ACCOUNT
from millrace.contracts.stages import TOTAL_SCOPE
from millrace.models.prices import PACKAGED, find, load
from millrace.money import MicroUSD, cost_of, written_usd
from services.api_gateway.break_even import Gpu, break_even, by_api
from services.api_gateway.budget_status import budget_status
from services.api_gateway.cost_calls import calls
from services.api_gateway.cost_rows import SCOPES, cells, units
from services.api_gateway.costs import costs
from services.api_gateway.model_figures import models
from services.api_gateway.resources import Parts
from services.api_gateway.spans import span_of
from services.api_gateway.stage_results import stage_result
from services.api_gateway.task_figures import tasks
from services.api_gateway.usage import usage
from services.api_gateway.who import Admin, Who

router = APIRouter(prefix="/api/ml/analytics", tags=["analytics"])

_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_Window = Annotated[WindowName, Query(description="Whole hours or days (UTC), the present one included")]
_Account = Annotated[str | None, Query(pattern=_NAME, description="Of this account alone; of all without it")]
_LISTED: Final = ("whisper-1", "api.openai.com")


@router.get("/{kind}/costs", response_model=CostsAnswer)
async def show_costs(
    kind: Kind,
    parts: Parts,
    _: Admin,
    *,
    window: _Window = "24h",
    group_by: GroupBy = "model",
    account: _Account = None,
) -> Response:
    """What transcription, language models or vectors (embedding and search) cost: totals, groups, a series.

    `1h` is the present hour, `24h` it and the 23 before, `7d` and `30d` today and the days before, all in UTC.
    """
    return _written(await costs(parts.pool, kind, window, group_by=group_by, account=account, now=parts.clock.now()))


@router.get("/{kind}/costs/detailed", responses={400: {"model": Problem, "description": "Not a cursor of this list"}})
async def show_calls(
    kind: Kind,
    parts: Parts,
    _: Admin,
    *,
    window: _Window = "24h",
    account: _Account = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
) -> CallsAnswer:
    """Single calls that the ledger has granted in the window, newest first, and what became of each."""
    return await calls(parts.pool, kind, window, account=account, cursor=cursor, limit=limit, now=parts.clock.now())


@router.get("/tasks/summary")
async def show_tasks(parts: Parts, _: Admin, window: _Window = "24h") -> TasksAnswer:
    """What the jobs of every stage have come to: states, durations, failed tries, skips by reason, dead letters."""
    return await tasks(parts.pool, parts.catalog, window, parts.clock.now())


@router.get("/budget/status")
async def show_budget_status(
    parts: Parts, _: Admin, account: Annotated[str, Query(pattern=_NAME)] = DEFAULT_ACCOUNT
) -> BudgetStatusAnswer:
    """Every scope and window of an account against its caps, with a forecast, and the work that waits for room."""
    return await budget_status(parts.pool, account, _spending(parts), parts.clock.now())


@router.get("/usage", response_model=UseAnswer)
async def show_usage(parts: Parts, _: Admin, window: _Window = "7d") -> Response:
    """Shares, calls and money hour by hour or day by day, in total and by user."""
    return _written(await usage(parts.pool, window, parts.clock.now()))


@router.get("/models")
async def show_models(parts: Parts, _: Admin, window: _Window = "7d") -> ModelsAnswer:
    """Models beside one another: calls, costs, costs a unit, latency, failures."""
    return await models(parts.pool, window, parts.clock.now())


@router.get("/break-even")
async def show_break_even(
    parts: Parts,
    _: Admin,
    gpu_usd_per_hour: Annotated[Dollars, Query(description="What an hour of the GPU costs")],
    realtime_factor: Annotated[
        Decimal,
        Query(gt=0, le=100, max_digits=9, decimal_places=6, description="Seconds of work for a second of sound"),
    ],
    window: _Window = "30d",
) -> BreakEvenAnswer:
    """What the window's speech cost by an API, what a GPU of one's own would, and from how much sound it pays."""
    span = span_of(window, parts.clock.now())
    spent = await cells(parts.pool, SCOPES["transcription"], span, None, "day")
    paid, audio_ms = by_api(spent, await units(parts.pool, SCOPES["transcription"], span))
    gpu = Gpu(written_usd(gpu_usd_per_hour), realtime_factor)
    return break_even(span, paid=paid, audio_ms=audio_ms, listed_per_hour=_listed_per_hour(), gpu=gpu)


@router.get(
    "/{stage}/result/{share_id}",
    responses={404: {"model": Problem, "description": "No such stage of a share, or it is somebody else's"}},
)
async def show_result(stage: str, share_id: str, parts: Parts, who: Who) -> StageResult:
    """What a stage (transcription, llm, vector, or by its own name) has made of a share; for its owner and admins."""
    return await stage_result(parts.pool, parts.catalog, share_id, stage, who)


def _written(answer: Answer) -> Response:
    """An answer with hundreds of buckets, written once: FastAPI would check each of them once more."""
    return Response(answer.model_dump_json(), media_type="application/json")


def _spending(parts: Parts) -> tuple[str, ...]:
    return tuple(scope for scope in parts.catalog.scopes if scope != TOTAL_SCOPE)


def _listed_per_hour() -> MicroUSD:
    """The list price of whisper-1, which is billed by the duration (docs/decisions/prices.md)."""
    model, host = _LISTED
    price = find(load(PACKAGED), "audio_minute", model=model, host=host)
    if price is None or price.audio_minute is None:
        raise LookupError(f"prices.toml has no price of {model}")
    return cost_of(60, price.audio_minute)
