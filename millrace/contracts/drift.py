"""How a cluster's topics differ from the catalogue, and what may be done about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from millrace.contracts.topics import TopicSpec

_AT_LEAST = frozenset({"retention.ms", "max.message.bytes", "min.insync.replicas"})
"""More than asked is kept: somebody raised it on purpose, and lowering retention would delete messages."""

_BY_HAND = frozenset({"cleanup.policy", "message.timestamp.type"})
"""Changing these loses rows, or leaves messages behind that were stamped by another clock."""

_UNLIMITED = -1
PRODUCTION_REPLICATION = 3


@dataclass(frozen=True)
class ActualTopic:
    """A topic as a cluster has it."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True)
class Create:
    """The topic is missing."""

    spec: TopicSpec
    replication: int
    config: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.spec.name}: is missing"


@dataclass(frozen=True)
class Alter:
    """Settings differ and can be changed without harm; `was` and `config` have the same names."""

    name: str
    config: Mapping[str, str]
    was: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}: " + ", ".join(f"{k} is {self.was.get(k)}, not {v}" for k, v in self.config.items())


@dataclass(frozen=True)
class Conflict:
    """The topic differs in what cannot be changed without harm: a person decides."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


Change = Create | Alter | Conflict


def wanted_config(spec: TopicSpec, replication: int) -> dict[str, str]:
    """Kafka's settings of a topic on a cluster with that replication.

    With three replicas, two must have a message before it is acknowledged: one broker may fail without loss.
    """
    in_sync = 2 if replication >= PRODUCTION_REPLICATION else 1
    return spec.kafka_config() | {"min.insync.replicas": str(in_sync)}


def changes(
    specs: Iterable[TopicSpec], actual: Mapping[str, ActualTopic], replication: int | None = None
) -> list[Change]:
    """What separates the cluster from the catalogue, in the catalogue's order; empty when nothing does.

    `replication` overrides the catalogue's; None takes existing topics as they are replicated.
    """
    found: list[Change] = []
    for spec in specs:
        topic = actual.get(spec.name)
        if topic is None:
            factor = replication or spec.replication
            found.append(Create(spec, factor, wanted_config(spec, factor)))
        else:
            found.extend(_differences(spec, topic, replication))
    return found


def _differences(spec: TopicSpec, topic: ActualTopic, replication: int | None) -> Iterable[Change]:
    if spec.partitions_fixed and topic.partitions != spec.partitions:
        yield Conflict(
            spec.name,
            f"has {topic.partitions} partitions and must have {spec.partitions}, or keys would change owners",
        )
    elif topic.partitions < spec.partitions:
        yield Conflict(spec.name, f"has {topic.partitions} partitions and needs {spec.partitions}")
    if replication is not None and topic.replication != replication:
        yield Conflict(
            spec.name, f"has {topic.replication} replicas, not {replication}: use kafka-reassign-partitions"
        )
    wanted = wanted_config(spec, topic.replication)
    differing = {k: v for k, v in wanted.items() if k in topic.config and not _satisfies(k, topic.config[k], v)}
    for name in sorted(differing.keys() & _BY_HAND):
        yield Conflict(spec.name, f"{name} is {topic.config[name]} and must be {differing[name]}")
    harmless = {k: v for k, v in differing.items() if k not in _BY_HAND}
    if harmless:
        yield Alter(spec.name, harmless, {k: topic.config[k] for k in harmless})


def _satisfies(name: str, actual: str, wanted: str) -> bool:
    if name in _AT_LEAST:
        return int(actual) == _UNLIMITED or int(actual) >= int(wanted)
    try:
        return float(actual) == float(wanted)
    except ValueError:
        return actual == wanted
