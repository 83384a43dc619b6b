"""GET /api/ml/metrics/…, /api/shares/metrics/ytdlp and /api/pipeline: figures of this process, and of all work."""

from __future__ import annotations

import logging
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from millrace.contracts.analytics_api import FetchAnswer, MetricsAnswer, PipelineAnswer, WindowName
from millrace.errors import Unavailable
from services.api_gateway.fetch_figures import fetch_figures
from services.api_gateway.metric_figures import metric_figures
from services.api_gateway.pipeline import pipeline
from services.api_gateway.resources import Parts
from services.api_gateway.who import Admin, Who

router = APIRouter(prefix="/api", tags=["metrics"])
log = logging.getLogger(__name__)
_LAG_WITHIN_S: Final = 2.0


@router.get(
    "/ml/metrics/prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def prometheus(_: Who) -> Response:
    """For Prometheus; the same as /metrics."""
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


@router.get("/ml/metrics/json")
async def metrics_json(_: Who) -> MetricsAnswer:
    """The same figures as JSON."""
    return metric_figures(REGISTRY)


@router.get("/shares/metrics/ytdlp")
async def show_fetching(
    parts: Parts, _: Admin, window: Annotated[WindowName, Query(description="Whole hours or days (UTC)")] = "24h"
) -> FetchAnswer:
    """What fetching has come to, by platform: states, failed tries, dead letters, durations, reasons."""
    return await fetch_figures(parts.pool, window, parts.clock.now())


@router.get("/pipeline")
async def show_pipeline(parts: Parts, _: Admin) -> PipelineAnswer:
    """Where the work of every stage stands now; lags are null while Kafka does not answer."""
    try:
        lags = await parts.lagging.ask(lambda: parts.lags.of(parts.catalog.stages), within_s=_LAG_WITHIN_S)
    except (Unavailable, TimeoutError) as exc:
        log.warning("lags are not known: %s", exc or "Kafka does not answer in time")
        lags = {}
    return await pipeline(parts.pool, parts.catalog, lags, parts.clock.now())
