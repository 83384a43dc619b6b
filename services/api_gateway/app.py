"""The gateway's HTTP application: routes, problem documents, and who may ask."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

import millrace
from services.api_gateway import problems
from services.api_gateway.bodies import SmallBodies
from services.api_gateway.guard import Guard
from services.api_gateway.resources import Resources
from services.api_gateway.routes import (
    alerts,
    analytics,
    budget,
    dead_letters,
    health,
    insight,
    metrics,
    ops,
    search,
    session,
    shares,
    transcripts,
    web,
)


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
    problems.install(app)
    for routes in (
        session,
        shares,
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
    app.add_middleware(SmallBodies)
    app.add_middleware(Guard, allowed=allowed_hosts)
    return app
