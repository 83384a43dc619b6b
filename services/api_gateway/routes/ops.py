"""GET /healthz, /readyz, /metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response, status
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from pydantic import BaseModel

from millrace.errors import Unavailable
from millrace.store.pool import OUTAGES
from services.api_gateway.outbox import lag
from services.api_gateway.resources import Parts
from services.api_gateway.who import Who

router = APIRouter(tags=["ops"])
_WITHIN_S = 3.5  # for each part; Kafka's own answer takes up to three seconds


class Readiness(BaseModel):
    """`degraded`: shares are accepted and kept, but cannot be published while Kafka is away."""

    status: str
    reason: str | None = None
    outbox_messages: int | None = None
    outbox_oldest_s: float | None = None


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process runs."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    response_model_exclude_none=True,
    responses={503: {"model": Readiness, "description": "Shares cannot be accepted"}},
)
async def readyz(parts: Parts, response: Response) -> Readiness:
    """Whether shares can be accepted (200; also when degraded), or not (503)."""
    try:
        waiting = await parts.waiting.ask(lambda: lag(parts.pool), within_s=_WITHIN_S)
    except OUTAGES:
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
        return Readiness(status="not ready", reason="The database does not answer.")
    age = None if waiting.oldest is None else (parts.clock.now() - waiting.oldest).total_seconds()
    reason = None
    try:
        await parts.brokers.ask(parts.publisher.metadata, within_s=_WITHIN_S)
    except (Unavailable, TimeoutError) as exc:
        reason = str(exc) or "Kafka does not answer in time; accepted shares wait in the outbox."
    state = "ready" if reason is None else "degraded"
    return Readiness(status=state, reason=reason, outbox_messages=waiting.messages, outbox_oldest_s=age)


@router.get("/metrics", include_in_schema=False)
async def metrics(_: Who) -> Response:
    """For Prometheus, which signs in like everybody (`authorization` in its configuration)."""
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
