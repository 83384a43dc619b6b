"""Ops endpoints of a service: /healthz (the process runs), /readyz (it makes progress), /metrics (Prometheus)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, generate_latest

from millrace.errors import ConfigurationError

Readiness = Callable[[], str | None]
"""None when ready, otherwise one sentence that says what is missing."""
READY = Gauge("ml_service_ready", "1 while the service makes progress, as /readyz says; 0 otherwise.")


def _application(ready: Readiness) -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(_: web.Request) -> web.Response:
        missing = ready()
        if missing is None:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "not ready", "reason": missing}, status=503)

    async def metrics(_: web.Request) -> web.Response:
        READY.set(ready() is None)
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


@asynccontextmanager
async def serve_ops(host: str, port: int, ready: Readiness) -> AsyncIterator[int]:
    """Serve the endpoints while the context is open.

    :param port: 0 for any free one.
    :return: the port that is bound.
    :raises ConfigurationError: the address is taken, or not this machine's.
    """
    runner = web.AppRunner(_application(ready), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as exc:
            raise ConfigurationError(
                f"{host}:{port} cannot be listened on ({exc.strerror}): set MILLRACE_OPS_HOST and MILLRACE_OPS_PORT."
            ) from exc
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
