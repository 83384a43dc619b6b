"""The schema registry: Apicurio with its Confluent-compatible API, keeping its ids in an H2 file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from millrace.embedded.java import Java
from millrace.embedded.ports import LOOPBACK
from millrace.embedded.probe import answers_ok
from millrace.embedded.process import Command

_HEAP_MIB = 128


@dataclass(frozen=True)
class RegistryPlan:
    """One registry: its folder, port and program."""

    folder: Path
    port: int
    program: Path
    java: Java
    log: Path
    lock: int

    @property
    def url(self) -> str:
        """Base URL of the Confluent API."""
        return f"http://{LOOPBACK}:{self.port}/apis/ccompat/v7"

    def command(self) -> Command:
        """The registry's process."""
        database = f"jdbc:h2:file:{self.folder / 'registry'}"
        settings = {
            "quarkus.http.host": LOOPBACK,
            "quarkus.http.port": str(self.port),
            # Both names, or ids start from 1 again after a restart and old messages cannot be read.
            "quarkus.datasource.jdbc.url": database,
            "registry.datasource.url": database,
            "quarkus.log.level": "WARN",
            "quarkus.log.console.level": "WARN",
            "quarkus.banner.enabled": "false",
        }
        flags = tuple(f"-D{key}={value}" for key, value in settings.items())
        jar = next(self.program.glob("*-runner.jar"))
        return self.java.command(
            "registry", flags, ("-jar", str(jar)), heap_mib=_HEAP_MIB, log=self.log, lock=self.lock
        )


async def registry_answers(url: str) -> bool:
    """Whether the registry lists its subjects."""
    return await answers_ok(f"{url}/subjects")
