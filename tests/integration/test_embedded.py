"""The embedded stack as a user meets it: started, stopped, killed, started again on the same folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from millrace.embedded.readyfile import Addresses

_SCHEMA = {"schema": json.dumps({"type": "record", "name": "Kept", "fields": [{"name": "a", "type": "long"}]})}


class Running:
    """A stack in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.ready_file = folder / "ready.json"
        places = ("--data", str(folder), "--ready-file", str(self.ready_file))
        self.argv = (sys.executable, "-m", "millrace.embedded", *places)
        self.process = subprocess.Popen(self.argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.until("ready")
        document = json.loads(self.ready_file.read_text(encoding="utf-8"))
        self.addresses = Addresses(document["kafka"], document["registry"], document["postgres"])
        self.children = [psutil.Process(pid) for pid in self.pids().values()]
        self.children += [below for part in self.children for below in part.children(recursive=True)]

    def until(self, wanted: str) -> list[str]:
        """Read what it says up to the wanted line, which is not returned."""
        assert self.process.stdout is not None
        said: list[str] = []
        for line in self.process.stdout:
            if line.rstrip() == wanted:
                return said
            said.append(line.rstrip())
        pytest.fail("\n".join(said), pytrace=False)

    def pids(self) -> dict[str, int]:
        """Process ids by part, as the ready file has them now."""
        parts = json.loads(self.ready_file.read_text(encoding="utf-8"))["pids"]
        return {name: part["pid"] for name, part in parts.items()}

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def survivors(self, within_s: float = 10.0) -> list[psutil.Process]:
        """Children that still run after that time."""
        return psutil.wait_procs(self.children, timeout=within_s)[1]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="millrace-test-") as name:
        yield Path(name)


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    stack = Running(folder)
    try:
        yield stack
    finally:
        if stack.process.poll() is None:
            stack.end(signal.SIGTERM)


def leave_something(at: Addresses) -> int:
    """A message, a schema, a row with a vector; returns the schema's id."""
    admin = AdminClient({"bootstrap.servers": at.kafka})
    admin.create_topics([NewTopic("kept", 3)])["kept"].result(timeout=20)
    producer = Producer({"bootstrap.servers": at.kafka})
    producer.produce("kept", b"still here", partition=0)
    assert producer.flush(20) == 0
    registered = httpx.post(f"{at.registry}/subjects/kept-value/versions", json=_SCHEMA, trust_env=False)
    with psycopg.connect(at.postgres) as database:
        database.execute("CREATE EXTENSION IF NOT EXISTS vector")
        database.execute("CREATE TABLE kept (v vector(3))")
        database.execute("INSERT INTO kept VALUES ('[1,2,3]')")
    return int(registered.raise_for_status().json()["id"])


def check_it_is_there(at: Addresses, schema_id: int) -> None:
    consumer = Consumer({"bootstrap.servers": at.kafka, "group.id": "reader"})
    consumer.assign([TopicPartition("kept", 0, 0)])
    message = consumer.poll(20)
    consumer.close()
    assert message is not None
    assert message.value() == b"still here"
    schema = httpx.get(f"{at.registry}/schemas/ids/{schema_id}", trust_env=False).raise_for_status()
    assert json.loads(schema.json()["schema"])["name"] == "Kept"
    with psycopg.connect(at.postgres) as database:
        assert database.execute("SELECT v <-> '[1,2,5]' FROM kept").fetchone() == (2.0,)


@pytest.mark.timeout(300)
def test_a_folder_keeps_addresses_topics_schema_ids_rows_and_vectors(folder: Path) -> None:
    with running(folder) as stack:
        schema_id = leave_something(stack.addresses)
        before = stack.addresses

        second = subprocess.run(stack.argv, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert second.stderr.startswith(f"The data folder {folder} is in use by process {stack.process.pid}: ")
        assert stack.ready_file.exists()

        assert stack.end(signal.SIGTERM) == 0
        assert stack.survivors(0) == []
        assert not stack.ready_file.exists()

    with running(folder) as stack:
        assert stack.addresses == before
        check_it_is_there(stack.addresses, schema_id)

        assert stack.end(signal.SIGKILL) == -signal.SIGKILL
        assert stack.survivors() == []
        assert stack.ready_file.exists()

    started = time.time()
    with running(folder) as stack:
        check_it_is_there(stack.addresses, schema_id)
        assert stack.ready_file.stat().st_mtime > started
        assert stack.ready_file.stat().st_mode & 0o777 == 0o600
        assert stack.end(signal.SIGINT) == 0
        assert stack.survivors(0) == []


def test_a_part_that_is_killed_comes_back_at_its_address(folder: Path) -> None:
    with running(folder) as stack:
        for part in ("kafka", "registry", "postgres"):
            killed = stack.pids()[part]
            os.kill(killed, signal.SIGKILL)
            said = stack.until(f"{part} is ready again")
            assert said[0] == f"{part} ended with signal 9; starting it again in 0.5 s"
            assert stack.pids()[part] != killed
        admin = AdminClient({"bootstrap.servers": stack.addresses.kafka})
        assert len(admin.list_topics(timeout=20).brokers) == 1
        assert httpx.get(f"{stack.addresses.registry}/subjects", trust_env=False).is_success
        with psycopg.connect(stack.addresses.postgres) as database:
            assert database.execute("SELECT 1").fetchone() == (1,)


def test_the_parts_listen_on_loopback_only(folder: Path) -> None:
    with running(folder) as stack:
        listening = {
            connection.laddr.ip
            for child in stack.children
            for connection in child.net_connections()
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
        assert listening
        secret = stack.addresses.postgres.split(":")[2].split("@")[0]
        assert not any(
            secret in " ".join(child.cmdline()) for child in (*stack.children, psutil.Process(stack.process.pid))
        )


def test_a_database_of_ones_own_has_vectors_and_its_owner_is_no_superuser(empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("CREATE TABLE t (v vector(2))")
        assert connection.execute("SELECT current_setting('is_superuser')").fetchone() == ("off",)


def test_a_wrong_password_is_refused(stack: Addresses) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(stack.postgres, password="guess")


def test_producing_to_a_topic_nobody_provisioned_fails_instead_of_creating_it(stack: Addresses, unique: str) -> None:
    delivered: list[bool] = []
    producer = Producer({"bootstrap.servers": stack.kafka, "message.timeout.ms": 3000, "log_level": 0})
    producer.produce(unique, b"x", on_delivery=lambda error, _: delivered.append(error is None))
    producer.flush(20)
    admin = AdminClient({"bootstrap.servers": stack.kafka})
    assert delivered == [False]
    assert unique not in admin.list_topics(timeout=20).topics
