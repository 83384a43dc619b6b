"""`python -m services.api_gateway`: the API and the outbox's drainer on one event loop."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager

import uvicorn

from millrace.errors import ConfigurationError, MillraceError
from millrace.startup import EXIT_CRASHED, close_to_others, enter_patiently, exit_status, load_settings, say
from millrace.store.blobs.opening import keep_order
from millrace.telemetry.log_lines import log_config
from millrace.telemetry.logs import quieten_libraries
from millrace.tracing.opening import tracing
from services.api_gateway.app import create_app
from services.api_gateway.connect import NAME, connected
from services.api_gateway.dead_projection import DeadLetterProjection, stop
from services.api_gateway.outbox import Drainer
from services.api_gateway.settings import GatewaySettings

log = logging.getLogger(__name__)

_STOP_REQUESTS_S = 10
_STOP_OUTBOX_S = 5.0


class _Server(uvicorn.Server):
    """uvicorn, which would raise a signal again after it has handled it, so that nothing else could be closed."""

    def __init__(self, config: uvicorn.Config, ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._ending = ending

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let streams end first, which would go on for ever, and then every other request."""
        self._ending()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM; requests under way are finished first."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def listen(host: str, port: int) -> socket.socket:
    """The socket that requests come in at.

    :raises ConfigurationError: the address is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family)
    except OSError as exc:
        raise ConfigurationError(
            f"{host}:{port} cannot be listened on ({exc.strerror}): set MILLRACE_HTTP_HOST and MILLRACE_HTTP_PORT."
        ) from exc
    # Connections inherit it. asyncio sets it only where the socket says its protocol, and that of create_server says
    # none: an answer's body, written after its head, would wait for the delayed acknowledgement of that, 40 ms.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


async def serve(settings: GatewaySettings) -> None:
    """Run until SIGINT or SIGTERM.

    :raises MillraceError: it cannot start.
    """
    async with AsyncExitStack() as stack:
        parts = await enter_patiently(
            stack, lambda: connected(settings), name=NAME, within_s=settings.start_timeout_s
        )
        bound = stack.enter_context(listen(settings.http_host, settings.http_port))
        config = uvicorn.Config(
            create_app(parts, settings.hosts),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=_STOP_REQUESTS_S,
        )
        say(NAME, f"listening on http://{settings.http_host}:{bound.getsockname()[1]} (documentation: /docs)")
        async with asyncio.TaskGroup() as tasks:  # a drainer that breaks takes the server with it, and is seen
            probing = tasks.create_task(parts.publisher.run())
            draining = tasks.create_task(parts.drainer.run())
            reading = tasks.create_task(
                DeadLetterProjection(parts.pool, settings.cluster, parts.catalog.dead_topics).run()
            )
            removing = tasks.create_task(parts.remover.run())
            keeping = tasks.create_task(keep_order(parts.blobs, settings, settings.blobs, parts.clock))
            await _Server(config, parts.watcher.end).serve(sockets=[bound])
            await _stop(parts.drainer, draining)
            await stop(probing)
            await stop(reading)
            await stop(removing)
            await stop(keeping)


def _log_as(settings: GatewaySettings) -> None:
    logging.config.dictConfig(log_config(NAME, settings.log_level, settings.log_format))
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    quieten_libraries()


async def _stop(drainer: Drainer, draining: asyncio.Task[None]) -> None:
    drainer.stop()
    await asyncio.wait([draining], timeout=_STOP_OUTBOX_S)
    draining.cancel()


def main() -> int:
    """Exit status: 0 stopped, 69 a part is away, 70 crashed, 78 configuration."""
    close_to_others()
    try:
        settings = load_settings(GatewaySettings)
        _log_as(settings)
        with tracing(NAME, settings):
            asyncio.run(serve(settings))
    except MillraceError as exc:
        say(NAME, str(exc))
        return exit_status(exc)
    except ExceptionGroup:
        log.critical("The gateway broke", exc_info=True)
        return EXIT_CRASHED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
