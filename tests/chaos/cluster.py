"""Three brokers with replicated topics, any of which may be killed: each is started again on the same data."""

from __future__ import annotations

import base64
import os
import random
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from millrace.embedded.artifacts import load_packages
from millrace.embedded.java import find_java
from millrace.embedded.kafka import KafkaPlan
from millrace.embedded.paths import cache_folder
from millrace.embedded.process import Command, launcher_argv
from tests.support.process import free_port

BROKERS: Final = 3
DOWN_S: Final = 3.0
"""How long a killed broker stays away: longer than its session, so that the others take over."""
_READY_WITHIN_S: Final = 90.0
_REPLICATED: Final = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


@dataclass
class Broker:
    """One of them."""

    command: Command
    process: subprocess.Popen[bytes] | None = None
    start_at: float = 0.0

    def tend(self, now: float) -> None:
        """Start it again when its time away is over."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None and not self.start_at:
            self.start_at = now + DOWN_S
        if now >= self.start_at:
            self.start_at = 0.0
            self.process = _run(self.command)


@dataclass
class Cluster:
    """All of them."""

    address: str
    brokers: list[Broker] = field(default_factory=list)

    def tend(self) -> None:
        """What a supervisor would do."""
        for broker in self.brokers:
            broker.tend(time.monotonic())

    def kill_one(self, chance: random.Random) -> None:
        """kill -9 one, unless another one is away: two of three must stay to take a message."""
        if all(broker.process is not None and broker.process.poll() is None for broker in self.brokers):
            process = chance.choice(self.brokers).process
            assert process is not None
            process.kill()


def _run(command: Command) -> subprocess.Popen[bytes]:
    with command.log.open("ab") as log:
        return subprocess.Popen(
            launcher_argv(command.argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(command.environment),
            pass_fds=command.inherit,
        )


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Three brokers that answer; killed at the end."""
    lock = os.open(folder, os.O_RDONLY)
    jars, java = load_packages()["kafka"].folder(cache_folder(os.environ)), find_java()
    plans = [
        KafkaPlan(folder / f"broker-{n}", free_port(), free_port(), jars, java, folder / f"broker-{n}.log", lock)
        for n in range(1, BROKERS + 1)
    ]
    voters = ",".join(f"{n}@127.0.0.1:{plan.controller_port}" for n, plan in enumerate(plans, 1))
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    made = Cluster(",".join(plan.address for plan in plans))
    try:
        for n, plan in enumerate(plans, 1):
            plan.folder.mkdir()
            plan.prepare()
            ours = {"node.id": str(n), "controller.quorum.voters": voters, **_REPLICATED}
            with plan.configuration.open("a", encoding="utf-8") as file:  # of a setting, the last line holds
                file.writelines(f"{name}={value}\n" for name, value in ours.items())
            format_ = ("format", f"--cluster-id={cluster_id}", f"--config={plan.configuration}")
            assert _run(plan._java("kafka.tools.StorageTool", *format_, heap_mib=128)).wait(60) == 0
            made.brokers.append(Broker(plan.command()))
        made.tend()
        _wait(made.address)
        yield made
    finally:
        for broker in made.brokers:
            if broker.process is not None:
                broker.process.kill()
                broker.process.wait(20)
        os.close(lock)


def _wait(address: str) -> None:
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline:
        try:
            if len(admin.list_topics(timeout=5).brokers) == BROKERS:
                return
        except KafkaException:
            pass
        time.sleep(0.2)
    raise TimeoutError("the brokers did not come up")
