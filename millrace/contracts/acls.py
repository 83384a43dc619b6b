"""Who may do what in Kafka: one user for each service, with what it needs and no more. Pure; from the catalogue.

Writing and reading a topic include describing it; an idempotent producer needs no right of its own (KIP-679).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from millrace.contracts.catalog import Catalog
from millrace.contracts.events import StageName
from millrace.contracts.stages import StageEntry, dead_topic

Resource = Literal["topic", "group", "transactional-id"]
Operation = Literal["read", "write", "describe", "describe-configs"]

OPERATOR: Final = "operator"
"""Applies topics and these rights, replays, and mends the ledger's books: a super user of the brokers."""
GATEWAY: Final = "api-gateway"
LEDGER: Final = "cost-ledger"
SUBSCRIBER: Final = "subscriber"
"""Other teams, who read results; their groups' names begin with `subscriber-`."""
VIEWER: Final = "viewer"
"""Kafka UI and the like, which look at everything and change nothing."""

_STATUS: Final = "task.status"
_REQUESTS, _DECISIONS = "cost.requests", "cost.decisions"
_COMMANDS: Final = "stage.requested"
_LEDGER_APP: Final = "millrace-cost-ledger"
_LEDGER_OWNER: Final = "cost_ledger"
_EVERY: Final = "*"


@dataclass(frozen=True, order=True)
class Grant:
    """A user may do something with a resource, or with all whose names begin so; `*` are all."""

    user: str
    resource: Resource
    name: str
    operation: Operation
    prefixed: bool = False

    def __str__(self) -> str:
        name = f"{self.name}…" if self.prefixed else self.name
        return f"{self.user} may {self.operation} the {self.resource} {name}"


def users(catalog: Catalog) -> tuple[str, ...]:
    """Everybody who has rights by these rules, and the operator, who needs none."""
    agents = (f"{stage}-agent" for stage in catalog.stages)
    return (OPERATOR, GATEWAY, LEDGER, *agents, SUBSCRIBER, VIEWER)


def grants(catalog: Catalog) -> tuple[Grant, ...]:
    """All rights, in order; what is not here is refused."""
    found: set[Grant] = set()
    for stage, entry in catalog.stages.items():
        found.update(_agent(stage, entry))
    found.update(_gateway(catalog))
    found.update(_ledger(catalog))
    found.update(_subscriber(catalog))
    found.update(_viewer())
    return tuple(sorted(found))


def _agent(stage: StageName, entry: StageEntry) -> Iterator[Grant]:
    user, commands = f"{stage}-agent", [f"{stage}.requested"]
    if entry.local:
        commands.append(f"{stage}.requested.local")
    yield from _topics(user, (*entry.reads, *commands, _DECISIONS), "read")
    yield from _topics(user, (entry.writes, *commands, dead_topic(stage), _STATUS, _REQUESTS), "write")
    # A command to it may have a share as it was created inside: the topic's schema is looked up.
    yield from _topics(user, ("share.created",), "describe")
    yield from (Grant(user, "group", f"millrace-{stage}-{part}", "read") for part in ("agent", "local"))


def _gateway(catalog: Catalog) -> Iterator[Grant]:
    dead = [dead_topic(stage) for stage in catalog.stages]
    # Also what it never begins to tell: a deleted share's tombstones go to every topic that tells of it.
    told = (name for name, topic in catalog.topics.items() if topic.owner != _LEDGER_OWNER)
    yield from _topics(GATEWAY, (name for name in told if name not in dead), "write")
    yield from _topics(GATEWAY, (*dead, _DECISIONS), "read")
    yield Grant(GATEWAY, "group", "millrace-", "describe", prefixed=True)  # how far the agents are behind


def _ledger(catalog: Catalog) -> Iterator[Grant]:
    own = [name for name, topic in catalog.topics.items() if topic.owner == _LEDGER_OWNER]
    yield from _topics(LEDGER, (*own, _REQUESTS), "read")
    yield from _topics(LEDGER, (*own, _REQUESTS), "write")
    yield Grant(LEDGER, "group", _LEDGER_APP, "read", prefixed=True)
    yield Grant(LEDGER, "transactional-id", f"{_LEDGER_APP}-", "write", prefixed=True)


def _subscriber(catalog: Catalog) -> Iterator[Grant]:
    results = [entry.writes for entry in catalog.stages.values()]
    public = ("share.created", *results, _STATUS, _DECISIONS, "cost.spend", "cost.alerts")
    yield from _topics(SUBSCRIBER, public, "read")
    yield Grant(SUBSCRIBER, "group", f"{SUBSCRIBER}-", "read", prefixed=True)


def _viewer() -> Iterator[Grant]:
    yield from _topics(VIEWER, (_EVERY,), "read")
    yield Grant(VIEWER, "group", _EVERY, "describe")


def _topics(user: str, names: Iterable[str], operation: Operation) -> Iterator[Grant]:
    """With its settings: a service refuses to start on topics that are not as the catalogue says."""
    for name in names:
        yield Grant(user, "topic", name, operation)
        yield Grant(user, "topic", name, "describe-configs")
