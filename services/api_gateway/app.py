"""The gateway's HTTP application: routes, problem documents, and who may ask."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from prometheus_fastapi_instrumentator import Instrumentator
from prometheus_fastapi_instrumentator.metrics import latency
from starlette.middleware.gzip import GZipMiddleware

import millrace
from millrace.tracing.spans import recording
from services.api_gateway import problems
from services.api_gateway.bodies import SmallBodies
from services.api_gateway.crowd import Crowd
from services.api_gateway.described import with_refusals
from services.api_gateway.guard import Guard
from services.api_gateway.resources import Resources
from services.api_gateway.routes import (
    alerts,
    analytics,
    budget,
    dead_letters,
    events,
    health,
    insight,
    media,
    metrics,
    ops,
    retries,
    search,
    session,
    share_list,
    shares,
    transcripts,
    web,
)

_TIMED: Final = Instrumentator(
    should_exclude_streaming_duration=True,
    should_ignore_untemplated=True,
    excluded_handlers=["/healthz", "/readyz", "/metrics", "/events$"],
)
_TIMED.add(
    latency(
        metric_name="ml_http_request_duration_seconds",
        metric_doc="Seconds of a request until its answer had begun; streams are left out.",
        should_exclude_streaming_duration=True,
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    )
)
_UNTRACED: Final = "/healthz,/readyz,/metrics,/static/,/events"
"""Parts of paths: asked for all the time, or open for as long as a page is."""
_WORTH_IT: Final = 1_000
"""Bytes; fewer fit into one packet anyhow."""
_AS_IT_IS: Final = ("text/event-stream", "audio/*", "video/*", "image/*", "application/octet-stream")


def create_app(parts: Resources, allowed_hosts: Collection[str]) -> FastAPI:
    """An application over parts that are connected already; whoever made them closes them.

    /docs needs no other host: Swagger's files come from a package.
    """
    app = FastAPIOffline(
        title="Millrace",
        version=millrace.__version__,
        description="Share media and text; get transcripts, summaries and search. Every model call is granted first.",
        redoc_url=None,
    )
    app.state.resources = parts
    _TIMED.instrument(app)
    if recording():
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415 - as `tracing` does

        FastAPIInstrumentor.instrument_app(app, excluded_urls=_UNTRACED, exclude_spans=["receive", "send"])
    problems.install(app)
    for routes in (
        session,
        shares,
        share_list,
        events,
        media,
        retries,
        transcripts,
        search,
        insight,
        budget,
        alerts,
        dead_letters,
        ops,
        health,
        analytics,
        metrics,
    ):
        app.include_router(routes.router)
    web.files()  # now, so that a broken installation does not start
    app.include_router(web.router)
    _describe_refusals(app)
    app.add_middleware(SmallBodies)
    # Events are to be sent at once, media is compressed already, and what `problem` says is short.
    app.add_middleware(GZipMiddleware, minimum_size=_WORTH_IT, compresslevel=5, exclude_content_types=_AS_IT_IS)
    app.add_middleware(Crowd)
    app.add_middleware(Guard, allowed=allowed_hosts)
    return app


def _describe_refusals(app: FastAPI) -> None:
    described = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = with_refusals(described())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI documents it
