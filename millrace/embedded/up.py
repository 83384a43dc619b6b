"""`millrace up`: the stack, what it must hold, and the services on it, in one command."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from millrace.contracts.catalog import Catalog
from millrace.embedded.errors import EmbeddedError
from millrace.embedded.paths import default_data
from millrace.embedded.ports import choose_ports, load_ports, port_is_free, save_ports
from millrace.embedded.provision import provision
from millrace.embedded.readyfile import Ready
from millrace.embedded.services import GATEWAY, ServicePlan, programs, service_environment
from millrace.embedded.signing import commands_token, local_owner, local_secret, sign_in_link
from millrace.embedded.stack import EmbeddedStack
from millrace.embedded.supervise import Report, Supervised, all_or_none, log_shown


@dataclass(frozen=True)
class UpOptions:
    """What to run and where.

    `port` is the gateway's (None: the last one, or a free one). `services` are names out of `programs`
    (None: all).
    """

    data: Path = field(default_factory=default_data)
    ready_file: Path | None = None
    port: int | None = None
    services: Sequence[str] | None = None


@asynccontextmanager
async def everything(options: UpOptions, report: Report) -> AsyncIterator[Ready]:
    """The stack with its services, for as long as the context is open; then the services stop, after them the stack.

    The ready file (0600) is there from when all is ready until stopping begins.

    :param report: told one line per part as it becomes ready.
    :raises EmbeddedError: something does not start; the sentence says what to do, and nothing is left running.
    :raises MillraceError: topics, schemas or tables cannot be brought to what the catalogue says.
    """
    known = programs(Catalog.load())
    modules = known if options.services is None else {name: known.get(name, "") for name in options.services}
    if unknown := sorted(modules.keys() - known):
        raise EmbeddedError(f"There is no service {', '.join(unknown)}: the services are {', '.join(known)}.")
    async with EmbeddedStack(options.data, ready_file=options.ready_file, report=report) as stack:
        await provision(stack.addresses, report)
        secret = local_secret(stack.paths.secret, os.environ)
        plans = _plans(options, modules, stack, secret)
        services = [plan.supervised(report, stack.refresh) for plan in plans]
        try:
            await _start(services, report)
            token = commands_token(secret, local_owner(os.environ), datetime.now(UTC))
            stack.announce(lambda: _describe(stack, plans, services, token))
            ready = _describe(stack, plans, services, token)
            gateway = ready.addresses.gateway
            link = sign_in_link(gateway, secret, local_owner(os.environ), datetime.now(UTC)) if gateway else ""
            yield replace(ready, link=link)
        finally:
            stack.withdraw()
            report("stopping")
            await asyncio.gather(*(service.stop() for service in services))


def _plans(options: UpOptions, modules: Mapping[str, str], stack: EmbeddedStack, secret: str) -> list[ServicePlan]:
    remembered = load_ports(stack.paths.ports)
    ports = choose_ports(
        tuple(modules),
        given={} if options.port is None else {GATEWAY: options.port},
        remembered=remembered,
        is_free=port_is_free,
        folder=stack.paths.data,
    )
    save_ports(stack.paths.ports, remembered | ports)
    return [
        ServicePlan(
            name=name,
            module=modules[name],
            port=port,
            log=stack.paths.log(name),
            environment=service_environment(
                name, os.environ, addresses=stack.addresses, blobs=stack.paths.blobs, port=port, secret=secret
            ),
        )
        for name, port in ports.items()
    ]


async def _start(services: Sequence[Supervised], report: Report) -> None:
    """All at once; when one fails the others are given up."""
    loop = asyncio.get_running_loop()
    since = loop.time()

    async def start(service: Supervised) -> None:
        await service.start()
        report(f"{service.name} is ready ({loop.time() - since:.1f} s)")

    with log_shown(report):
        await all_or_none([start(service) for service in services])


def _describe(
    stack: EmbeddedStack, plans: Sequence[ServicePlan], services: Sequence[Supervised], token: str
) -> Ready:
    gateway = next((plan.url for plan in plans if plan.name == GATEWAY), "")
    running = {plan.name: plan.running(service) for plan, service in zip(plans, services, strict=True)}
    processes = stack.processes | {name: part for name, part in running.items() if part is not None}
    return Ready(replace(stack.addresses, gateway=gateway), processes, token)
