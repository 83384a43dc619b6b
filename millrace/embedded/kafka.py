"""The broker: one Kafka node in KRaft mode, broker and controller in one process."""

from __future__ import annotations

import asyncio
import base64
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from millrace.embedded.errors import StartFailed
from millrace.embedded.java import Java
from millrace.embedded.ports import LOOPBACK
from millrace.embedded.process import Child, Command, last_lines

_MAIN = "kafka.Kafka"
_FORMAT_MAIN = "kafka.tools.StorageTool"
_HEAP_MIB = 320
_LOG4J = """\
Configuration:
  status: warn
  Appenders:
    Console:
      name: out
      PatternLayout:
        pattern: "%d{yyyy-MM-dd'T'HH:mm:ss.SSS}Z %p %c{1}: %m%n"
  Loggers:
    Root:
      level: warn
      AppenderRef:
        ref: out
    Logger:
      - name: kafka.server.KafkaRaftServer
        level: info
"""


@dataclass(frozen=True)
class KafkaPlan:
    """One broker: its folder, ports, jars and how they are run."""

    folder: Path
    port: int
    controller_port: int
    jars: Path
    java: Java
    log: Path
    lock: int

    @property
    def address(self) -> str:
        """host:port for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def configuration(self) -> Path:
        """The file that the broker reads; written anew at every start."""
        return self.folder / "server.properties"

    def prepare(self) -> None:
        """Write the configuration files."""
        text = broker_properties(self.folder / "log", self.port, self.controller_port)
        self.configuration.write_text(text, encoding="utf-8")
        (self.folder / "log4j2.yaml").write_text(_LOG4J, encoding="utf-8")

    def command(self) -> Command:
        """The broker's process."""
        return self._java(_MAIN, str(self.configuration), heap_mib=_HEAP_MIB)

    async def format_if_new(self) -> None:
        """Give a new log folder its cluster id; a folder that was formatted before is left as it is.

        Formats beside it and renames, because a format that is cut short leaves a folder the broker refuses.

        :raises StartFailed: the tool failed.
        """
        final = self.folder / "log"
        if final.exists():
            return
        fresh = self.folder / "log.new"
        shutil.rmtree(fresh, ignore_errors=True)
        configuration = self.folder / "format.properties"
        configuration.write_text(broker_properties(fresh, self.port, self.controller_port), encoding="utf-8")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = await Child.start(
            self._java(_FORMAT_MAIN, "format", f"--cluster-id={cluster}", f"--config={configuration}", heap_mib=128)
        )
        try:
            code = await tool.wait()
        except asyncio.CancelledError:
            tool.kill()
            await tool.wait()
            raise
        if code != 0:
            raise StartFailed(f"Kafka's storage could not be formatted: see {self.log}.", last_lines(self.log))
        fresh.rename(final)

    def _java(self, main: str, *arguments: str, heap_mib: int) -> Command:
        flags = (f"-Dlog4j2.configurationFile={self.folder / 'log4j2.yaml'}", "-Djava.awt.headless=true")
        return self.java.command(
            "kafka",
            flags,
            ("-cp", str(self.jars / "*"), main, *arguments),
            heap_mib=heap_mib,
            log=self.log,
            lock=self.lock,
        )


def broker_properties(log_folder: Path, port: int, controller_port: int) -> str:
    """The broker's configuration for one node on loopback, small and quick to start."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(log_folder),
        # A topic that nobody provisioned must fail loudly, not appear with one partition and no retention.
        "auto.create.topics.enable": "false",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        # A killed broker is let in again only when its former self has timed out: 3 s rather than 9.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "message.max.bytes": str(2 * 1024 * 1024),
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        # The cleaner's default of 128 MiB would not fit the heap.
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        "controlled.shutdown.enable": "true",
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


async def kafka_answers(address: str) -> bool:
    """Whether a broker at `address` answers a metadata request and counts itself alive."""
    host, port = address.rsplit(":", 1)
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False  # asked first because the client below logs an error for every refused connection
    writer.close()
    client = AIOKafkaClient(bootstrap_servers=address, request_timeout_ms=5_000)
    try:
        await client.bootstrap()
        metadata = await client.fetch_all_metadata()
        return bool(metadata.brokers())
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()
