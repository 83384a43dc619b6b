"""The ready file: what a started stack tells other programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace.cluster import Cluster


@dataclass(frozen=True)
class Addresses:
    """Where the parts are: `kafka` host:port, `registry` Confluent API's base URL, `postgres` URL with password."""

    kafka: str
    registry: str
    postgres: str
    gateway: str = ""

    @property
    def cluster(self) -> Cluster:
        """Kafka, as whoever may do everything sees it."""
        return Cluster(self.kafka)


@dataclass(frozen=True)
class RunningPart:
    """A process of the stack; `ops` is the base URL of its ops endpoints, empty for Kafka, registry, PostgreSQL."""

    pid: int
    ops: str = ""


@dataclass(frozen=True)
class Ready:
    """What is written: addresses that exist, the processes by name, and what commands sign in with.

    `link` is for the person who started it, and not written.
    """

    addresses: Addresses
    processes: Mapping[str, RunningPart] = field(default_factory=dict)
    token: str = ""
    link: str = ""

    def document(self) -> dict[str, object]:
        """The JSON document; parts that do not run are left out."""
        known = {name: value for name, value in vars(self.addresses).items() if value}
        pids = {name: vars(part) for name, part in self.processes.items()}
        return {**known, "pids": pids} | ({"token": self.token} if self.token else {})
