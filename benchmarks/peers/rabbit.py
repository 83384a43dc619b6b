"""A RabbitMQ node of its own: on free ports of loopback, its data in a folder, gone at the end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.peers.chain import Broken, NotInstalled, Process, running
from tests.support.process import free_port

UNWRAPPED: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's command in the PATH changes to a user of its own, whose home is not ours."""
ERLANG: Final = "+sbwt none +sbwtdcpu none +sbwtdio none"
"""No busy waiting: on few cores, RabbitMQ's own advice, and faster here."""
READY_WITHIN_S: Final = 60.0


@dataclass(frozen=True)
class Node:
    """A node that answers."""

    url: str
    pid: int
    environment: dict[str, str]


def installed() -> tuple[str, str]:
    """RabbitMQ's server and Erlang's port mapper.

    :raises NotInstalled: one of them is missing.
    """
    server = str(UNWRAPPED) if UNWRAPPED.exists() else shutil.which("rabbitmq-server")
    epmd = shutil.which("epmd")
    if server is None or epmd is None:
        raise NotInstalled(
            "RabbitMQ is not installed: `apt-get install rabbitmq-server` as root brings it (or use --only)."
        )
    return server, epmd


def version(node: Node) -> str:
    """Of RabbitMQ. Asked in the node's environment: elsewhere the command would leave a port mapper behind."""
    control = str(UNWRAPPED.with_name("rabbitmqctl")) if UNWRAPPED.exists() else "rabbitmqctl"
    env = {**os.environ, **node.environment}
    said = subprocess.run([control, "version"], capture_output=True, text=True, check=False, timeout=60, env=env)
    return said.stdout.strip().splitlines()[-1] if said.stdout.strip() else "unknown"


@contextmanager
def rabbit(folder: Path) -> Iterator[Node]:
    """A fresh node that takes connections; users and settings are the defaults."""
    server, epmd = installed()
    port, distribution, mapper = free_port(), free_port(), free_port()
    home = folder / "rabbit"
    home.mkdir()
    env = {
        "HOME": str(home),
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "bench@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
        "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
    }
    names = Process("epmd", (epmd, "-port", str(mapper), "-address", "127.0.0.1"), folder / "epmd.log", env)
    with running(names), running(Process("rabbitmq", (server,), folder / "rabbit.log", env)) as (broker,):
        _until_open(broker, port)
        yield Node(f"amqp://guest:guest@127.0.0.1:{port}//", broker.pid, env)


def _until_open(broker: Process, port: int) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        broker.alive()
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise Broken(f"RabbitMQ did not start within {READY_WITHIN_S:.0f} s: see {broker.log}") from None
            time.sleep(0.1)
