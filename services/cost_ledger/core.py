"""The admission core as part of a process: beside the spend tables, or alone as the role `admission`.

Alone it answers fastest: Python lets one thread compute at a time, and the tables need as much of it as the core.
"""

from __future__ import annotations

import asyncio
import logging
import logging.config
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NoReturn

from millrace.clock import SystemClock
from millrace.contracts.catalog import Catalog
from millrace.contracts.provision import verify_topics
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.errors import MillraceError
from millrace.ledger.topics import ALERTS, DECISIONS, REQUESTS, SPEND
from millrace.startup import EXIT_CRASHED, enter_patiently, exit_status, say
from millrace.telemetry.log_lines import log_config
from millrace.telemetry.logs import quieten_libraries
from millrace.telemetry.ops import serve_ops
from millrace.tracing.opening import tracing
from services.cost_ledger import budgets
from services.cost_ledger.admission import Admission
from services.cost_ledger.log import LogSetup
from services.cost_ledger.settings import NAME, SERVICE, LedgerSettings
from services.cost_ledger.topics import ledger_catalog

log = logging.getLogger(__name__)


def die(sentence: str) -> NoReturn:
    """Crash-only: say why and end at once, with nothing half done; a restart takes the truth from the log."""
    say(NAME, sentence)
    os._exit(EXIT_CRASHED)


class Core:
    """The core on its thread."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="admission", daemon=True)

    def start(self) -> None:
        """Begin to decide."""
        self._thread.start()

    async def stop(self) -> None:
        """Finish the batch in flight and hand the partitions over."""
        self._stopping = True
        self._admission.stop()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def unready(self) -> str | None:
        """See `Admission.unready`."""
        return self._admission.unready()

    def _run(self) -> None:
        try:
            self._admission.run()
        except Exception as exc:
            if self._stopping:
                log.info("the admission core stopped with %s", type(exc).__name__)
                return
            log.exception("the admission core failed")
            die(f"The cost ledger ends: {type(exc).__name__}: {exc}")


@asynccontextmanager
async def open_codec(settings: LedgerSettings, catalog: Catalog) -> AsyncIterator[Codec]:
    """A codec for the ledger's topics, which are there and as they must be.

    :raises ConfigurationError: a topic or a schema is missing.
    :raises Unavailable: a part does not answer.
    """
    own = ledger_catalog(catalog, settings)
    await verify_topics(settings.cluster, own, own.topics)
    with Registry(settings.registry) as registry:
        yield await Codec.connect(registry, catalog, (REQUESTS, DECISIONS, SPEND, ALERTS))


def make_core(settings: LedgerSettings, catalog: Catalog, codec: Codec) -> Core:
    """The core of a process, not started.

    :raises ConfigurationError: the budgets file is wrong.
    """
    caps = budgets.load(settings.budgets or budgets.PACKAGED)
    owner = f"{socket.gethostname()}:{os.getpid()}"
    setup = LogSetup(settings.cluster, settings.topics, settings.ledger_app_id, owner, codec)
    partitions = catalog.topic(DECISIONS).partitions
    return Core(Admission(setup, codec, caps, partitions=partitions, clock=SystemClock()))


@asynccontextmanager
async def _connected(settings: LedgerSettings) -> AsyncIterator[Core]:
    catalog = Catalog.load()
    async with AsyncExitStack() as stack:
        codec = await stack.enter_async_context(open_codec(settings, catalog))
        core = make_core(settings, catalog, codec)
        await stack.enter_async_context(serve_ops(settings.ops_host, settings.ops_port, core.unready))
        yield core


async def _serve(settings: LedgerSettings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        core = await enter_patiently(
            stack, lambda: _connected(settings), name=NAME, within_s=settings.start_timeout_s
        )
        core.start()
        stack.push_async_callback(core.stop)
        await stopped.wait()


def run_core(settings: LedgerSettings) -> int:
    """Run the core alone until a signal. Exit status: 0 stopped, 69 a part is away, 70 crashed, 78 configuration."""
    logging.config.dictConfig(log_config(SERVICE, settings.log_level, settings.log_format))
    quieten_libraries()
    try:
        with tracing(SERVICE, settings):
            asyncio.run(_serve(settings))
    except MillraceError as exc:
        say(NAME, str(exc))
        return exit_status(exc)
    return 0
