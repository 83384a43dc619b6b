"""The parts of Millrace each on its own: a stack that stays while all services stop and start again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from millrace.cluster import Cluster
from millrace.contracts.access import apply_access
from millrace.contracts.acls import OPERATOR, grants, users
from millrace.contracts.catalog import Catalog
from millrace.contracts.provision import apply_topics, register_schemas
from millrace.embedded.process import launcher_argv
from millrace.embedded.provision import provision
from millrace.embedded.readyfile import Addresses
from millrace.embedded.services import GATEWAY, programs
from millrace.store.migrate import migrate
from tests.support.brokers import BROKERS, Brokers, three_brokers
from tests.support.database import rows
from tests.support.kafka import consumer
from tests.support.process import Service, is_ready
from tests.support.stack import own_stack
from tests.support.waiting import until

Place = tuple[str, int]
"""A topic and a partition."""
_STOP_WITHIN_S: Final = 40
_START_WITHIN_S: Final = 90


class Apart:
    """Kafka, the registry and PostgreSQL of the test's own, and services as processes on them."""

    def __init__(
        self, addresses: Addresses, folder: Path, environment: Mapping[str, str], brokers: Brokers | None = None
    ) -> None:
        self.addresses = addresses
        self.brokers = brokers
        self.folder = folder
        self.environment = {
            "MILLRACE_KAFKA": addresses.kafka,
            "MILLRACE_REGISTRY": addresses.registry,
            "MILLRACE_POSTGRES": addresses.postgres,
            "MILLRACE_BLOBS": str(folder / "blobs"),
            **environment,
            **self.as_user(OPERATOR),
        }
        self.workers: dict[str, Service] = {}

    @property
    def cluster(self) -> Cluster:
        """Kafka, as an operator sees it."""
        return self.addresses.cluster if self.brokers is None else self.brokers.seen_by(OPERATOR)

    def as_user(self, user: str) -> dict[str, str]:
        """Settings that make a program a user of Kafka; none where there are no users."""
        if self.brokers is None:
            return {}
        seen = self.brokers.seen_by(user)
        return {
            "MILLRACE_KAFKA_CA": str(seen.ca),
            "MILLRACE_KAFKA_USER": user,
            "MILLRACE_KAFKA_PASSWORD": seen.password,
        }

    @property
    def gateway(self) -> str:
        """Its URL; another one after each start."""
        return self.workers[GATEWAY].url

    def start(self, services: Sequence[str] | None = None) -> None:
        """Start services (all by default), and wait until each says that it makes progress."""
        known = programs(Catalog.load())
        for name in known if services is None else services:
            environment = self.environment | self.as_user(name.replace("_", "-"))
            self.workers[name] = Service(known[name], environment, self.folder / f"{name}.log")
        until(self._working, "all services to be ready", _START_WITHIN_S)

    def _working(self) -> bool:
        return all(worker.running and is_ready(worker.url) for worker in self.workers.values())

    def stop(self) -> None:
        """Stop every service as an operator would."""
        for worker in self.workers.values():
            worker.signal(signal.SIGTERM)
        for worker in self.workers.values():
            worker.process.wait(_STOP_WITHIN_S)
        self.workers.clear()

    def end(self) -> None:
        """Nothing is left running."""
        for worker in self.workers.values():
            worker.end()

    def sql(self, query: str, *args: object) -> list[dict[str, object]]:
        """Rows of the database."""
        return rows(self.addresses.postgres, query, *args)

    def millrace(self, *words: str) -> subprocess.Popen[str]:
        """The command, begun; its output can be read from it."""
        return subprocess.Popen(
            launcher_argv((sys.executable, "-m", "millrace.cli.main", *words)),
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def millrace_json(self, *words: str, status: int = 0) -> Any:  # noqa: ANN401 - each command has a document of its own
        """What a command prints as JSON."""
        process = self.millrace(*words, "--json")
        out, err = process.communicate(timeout=120)
        assert process.returncode == status, err
        return json.loads(out)

    def groups(self) -> list[str]:
        """Every consumer group that there is."""
        admin = AdminClient(self.cluster.librdkafka())
        return sorted(group.group_id for group in admin.list_consumer_groups(request_timeout=15).result().valid)

    def ends(self) -> dict[Place, int]:
        """Where every partition of every topic ends."""
        with consumer(self.cluster) as member:
            return {place: member.get_watermark_offsets(TopicPartition(*place), 10)[1] for place in _places(member)}

    def committed(self, group: str) -> dict[Place, int]:
        """What a group has committed, wherever it has committed anything."""
        with consumer(self.cluster, group) as member:
            asked = [TopicPartition(*place) for place in _places(member)]
            found = member.committed(asked, 15)
        return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}

    def reset(self, group: str, places: Mapping[Place, int]) -> None:
        """Set a group back to the beginning of these partitions; it must have no members."""
        with consumer(self.cluster, group) as member:
            oldest = [
                TopicPartition(*place, member.get_watermark_offsets(TopicPartition(*place), 10)[0])
                for place in places
            ]
            member.commit(offsets=oldest, asynchronous=False)


def _places(member: Consumer) -> list[Place]:
    topics = member.list_topics(timeout=15).topics
    return [
        (name, partition)
        for name, topic in topics.items()
        if not name.startswith("__")
        for partition in topic.partitions
    ]


async def provide(made: Apart) -> None:
    """Topics, schemas, tables; and rights where there are users."""
    if made.brokers is None:
        await provision(made.addresses, lambda _: None)
        return
    catalog = Catalog.load()
    await apply_topics(made.cluster, catalog, replication=BROKERS, report=lambda _: None)
    await asyncio.to_thread(register_schemas, made.addresses.registry, catalog, lambda _: None)
    await asyncio.to_thread(migrate, made.addresses.postgres)
    known = made.brokers.passwords()
    await apply_access(made.cluster, users(catalog), grants(catalog), known, lambda _: None)


@contextmanager
def apart(environment: Mapping[str, str], files: Mapping[str, str], *, brokers: bool = False) -> Iterator[Apart]:
    """A stack with topics, schemas and tables; no service runs yet.

    :param files: settings of services by the name of the variable that says where the file is; their content.
    :param brokers: three brokers with TLS, passwords and rights take the place of the stack's own.
    """
    # Not in pytest's own folders: another run of pytest takes away what the database's user may read there.
    with tempfile.TemporaryDirectory(prefix="millrace-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "stack").mkdir()
        for variable, content in files.items():
            (folder / variable).write_text(content)
        places = {variable: str(folder / variable) for variable in files}
        (folder / "brokers").mkdir()
        several = three_brokers(folder / "brokers", folder / "security") if brokers else nullcontext()
        with own_stack(folder / "stack") as own, several as kafka:
            addresses = own if kafka is None else replace(own, kafka=kafka.address)
            made = Apart(addresses, folder, {**environment, **places}, kafka)
            asyncio.run(provide(made))
            try:
                yield made
            finally:
                made.end()
