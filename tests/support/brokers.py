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
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from millrace.cluster import Cluster
from millrace.contracts.acls import OPERATOR, users
from millrace.contracts.catalog import Catalog
from millrace.embedded.artifacts import load_packages
from millrace.embedded.java import find_java
from millrace.embedded.kafka import KafkaPlan
from millrace.embedded.paths import cache_folder
from millrace.embedded.ports import LOOPBACK
from millrace.embedded.process import Command, launcher_argv
from millrace.trial import CA_FILE, make_trial, passwords
from tests.support.process import ROOT, free_port

BROKERS: Final = 3
DOWN_S: Final = 3.0
"""How long a killed broker stays away: longer than its session, so that the others take over."""
_READY_WITHIN_S: Final = 90.0
SETTINGS: Final = ROOT / "deploy/security/server.properties"
_INSTALLED: Final = "/etc/millrace/security"
_LOG_OF_REFUSALS: Final = """\
      - name: kafka.authorizer.logger
        level: info
"""
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
class Brokers:
    """All of them. `security` is the folder of a trial's files, where they let nobody in who shows no password."""

    address: str
    brokers: list[Broker] = field(default_factory=list)
    security: Path | None = None

    def seen_by(self, user: str) -> Cluster:
        """The cluster, as a user of the trial's sees it."""
        assert self.security is not None
        password = (self.security / f"{user}.password").read_text()
        return Cluster(self.address, tls=True, ca=self.security / CA_FILE, user=user, password=password)

    def passwords(self) -> dict[str, str]:
        """Of all but the operator, whose password the brokers were made with."""
        assert self.security is not None
        everybody = users(Catalog.load())
        return {user: word for user, word in passwords(self.security, everybody).items() if user != OPERATOR}

    def refusals(self) -> list[str]:
        """What brokers' logs say of what they have refused."""
        lines = [line for broker in self.brokers for line in broker.command.log.read_text().splitlines()]
        return [line for line in lines if " is Denied " in line]

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
def three_brokers(folder: Path, security: Path | None = None) -> Iterator[Brokers]:
    """Three brokers that answer; killed at the end.

    :param security: where the files of a trial are to be made; with it the brokers speak TLS, ask for passwords and
        heed rights, by the very settings of deploy/security.
    """
    lock = os.open(folder, os.O_RDONLY)
    jars, java = load_packages()["kafka"].folder(cache_folder(os.environ)), find_java()
    plans = [
        KafkaPlan(folder / f"broker-{n}", free_port(), free_port(), jars, java, folder / f"broker-{n}.log", lock)
        for n in range(1, BROKERS + 1)
    ]
    voters = ",".join(f"{n}@127.0.0.1:{plan.controller_port}" for n, plan in enumerate(plans, 1))
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    made = Brokers(",".join(plan.address for plan in plans), security=security)
    if security is not None:
        make_trial(security, [LOOPBACK], users(Catalog.load()), datetime.now(UTC))
    try:
        for n, plan in enumerate(plans, 1):
            plan.folder.mkdir()
            plan.prepare()
            ours = {"node.id": str(n), "controller.quorum.voters": voters, **_REPLICATED}
            if security is not None:
                ours |= _secured(plan, security)
                log = plan.folder / "log4j2.yaml"
                log.write_text(log.read_text() + _LOG_OF_REFUSALS)
            with plan.configuration.open("a", encoding="utf-8") as file:  # of a setting, the last line holds
                file.writelines(f"{name}={value}\n" for name, value in ours.items())
            format_ = ["format", f"--cluster-id={cluster_id}", f"--config={plan.configuration}"]
            if security is not None:
                format_ += ["--add-scram", f"@{_credential(plan, security)}"]
            assert _run(plan._java("kafka.tools.StorageTool", *format_, heap_mib=128)).wait(60) == 0
            made.brokers.append(Broker(plan.command()))
        made.tend()
        _wait(Cluster(made.address) if security is None else made.seen_by(OPERATOR))
        yield made
    finally:
        for broker in made.brokers:
            if broker.process is not None:
                broker.process.kill()
                broker.process.wait(20)
        os.close(lock)


def _secured(plan: KafkaPlan, security: Path) -> dict[str, str]:
    """The settings of deploy/security with this broker's own, which they name in their head."""
    lines = (SETTINGS.read_text().replace(_INSTALLED, str(security))).splitlines()
    found = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    client, internal = f"CLIENT://{plan.address}", f"INTERNAL://{LOOPBACK}:{free_port()}"
    return found | {
        "listeners": f"{client},{internal},CONTROLLER://{LOOPBACK}:{plan.controller_port}",
        "advertised.listeners": f"{client},{internal}",
        "ssl.keystore.location": str(security / f"{LOOPBACK}.pem"),
    }


def _credential(plan: KafkaPlan, security: Path) -> Path:
    """The operator's first password, as a file: what is on a command line everybody can read."""
    file = plan.folder / "operator.scram"
    password = (security / f"{OPERATOR}.password").read_text()
    file.write_text(f"SCRAM-SHA-512=[name={OPERATOR},password={password}]")
    return file


def _wait(kafka: Cluster) -> None:
    admin = AdminClient({**kafka.librdkafka(), "log_level": 0})
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline:
        try:
            if len(admin.list_topics(timeout=5).brokers) == BROKERS:
                return
        except KafkaException:
            pass
        time.sleep(0.2)
    raise TimeoutError("the brokers did not come up")
