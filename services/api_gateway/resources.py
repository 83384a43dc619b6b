"""What the routes work with, made by the composition root and handed to them by `resources`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated

import asyncpg
from fastapi import Depends, Request

from millrace.clock import Clock
from millrace.contracts.catalog import Catalog
from millrace.store.blobs import BlobStore
from services.api_gateway.cancel import CancelDesk
from services.api_gateway.caps import CapDesk
from services.api_gateway.dead_letters import DeadLetterDesk
from services.api_gateway.deletion import DeleteDesk
from services.api_gateway.digest import DigestDesk
from services.api_gateway.duplicates import DuplicateDesk
from services.api_gateway.errors import Unknown
from services.api_gateway.flight import OneFlight
from services.api_gateway.intake import Intake
from services.api_gateway.lags import Lags
from services.api_gateway.outbox import Drainer
from services.api_gateway.ports import OutboxLag
from services.api_gateway.rate import RateLimit
from services.api_gateway.reliable import ReliablePublisher
from services.api_gateway.removal import Remover
from services.api_gateway.retries import RetryDesk
from services.api_gateway.search import Search
from services.api_gateway.shares import ShareDesk
from services.api_gateway.sign_in import SignIn
from services.api_gateway.unconfirmed import UnconfirmedDesk
from services.api_gateway.watcher import Watcher


@dataclass(frozen=True)
class Resources:
    """One gateway's parts. `owner` is whose shares are taken and shown where nobody signs in (no `sign_in`).

    `waiting` and `brokers` are what /readyz asks of PostgreSQL and Kafka.
    """

    owner: str
    catalog: Catalog
    clock: Clock
    pool: asyncpg.Pool[asyncpg.Record]
    blobs: BlobStore
    publisher: ReliablePublisher
    drainer: Drainer
    intake: Intake
    desk: ShareDesk
    search: Search
    duplicates: DuplicateDesk
    digests: DigestDesk
    cancel: CancelDesk
    caps: CapDesk
    unconfirmed: UnconfirmedDesk
    dead_letters: DeadLetterDesk
    lags: Lags
    watcher: Watcher
    retries: RetryDesk
    deletions: DeleteDesk
    remover: Remover
    waiting: OneFlight[OutboxLag] = field(default_factory=OneFlight)
    brokers: OneFlight[int] = field(default_factory=OneFlight)
    sign_in: SignIn | None = None
    rate: RateLimit | None = None
    lagging: OneFlight[dict[str, int]] = field(default_factory=OneFlight)


def resources(request: Request) -> Resources:
    """The parts of the gateway that answers this request."""
    parts = request.app.state.resources
    if not isinstance(parts, Resources):
        raise TypeError("the application was started without its resources")
    return parts


def known(name: str, names: Collection[str], parameter: str) -> None:
    """Check what a request calls a stage or a scope.

    :raises Unknown: it is none of `names`.
    """
    if name not in names:
        raise Unknown(f"The parameter {parameter} is not valid: it is one of {', '.join(names)}.")


Parts = Annotated[Resources, Depends(resources)]
