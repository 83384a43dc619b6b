"""Kafka, the schema registry and PostgreSQL, started together and stopped together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from millrace.embedded.account import unprivileged_account
from millrace.embedded.archive import Archive
from millrace.embedded.artifacts import load_packages
from millrace.embedded.download import download
from millrace.embedded.errors import EmbeddedError
from millrace.embedded.java import Java, find_java
from millrace.embedded.kafka import KafkaPlan, kafka_answers
from millrace.embedded.lock import FolderLock
from millrace.embedded.paths import StackPaths, cache_folder, write_private_json
from millrace.embedded.ports import choose_ports, load_ports, port_is_free, save_ports
from millrace.embedded.postgres import PostgresPlan, find_postgres, postgres_answers
from millrace.embedded.process import Command
from millrace.embedded.readyfile import Addresses, Ready, RunningPart
from millrace.embedded.registry import RegistryPlan, registry_answers
from millrace.embedded.supervise import Probe, Report, Supervised, all_or_none, log_shown

PARTS = ("kafka", "registry", "postgres")
_PORTS_OF = {"kafka": ("kafka", "controller"), "registry": ("registry",), "postgres": ("postgres",)}
_READY_WITHIN_S = 120.0  # for a slow, busy machine; a usual start takes 3 s


class EmbeddedStack:
    """The three parts on loopback, with all their data in one folder.

    `async with EmbeddedStack(folder) as stack:` opens once every part answers a real request, and closes them in
    order. They die with this process in every case; open it in a thread that lives as long as the stack.

    :param parts: which of `PARTS` to run.
    :param ports: fixed ports by name (kafka, controller, registry, postgres); others are remembered or free ones.
    :param ready_file: where `announce` writes besides the data folder; one left by a killed process is removed.
    :raises FolderInUse: another process works on the folder.
    :raises EmbeddedError: a part cannot be installed or does not start; nothing is left running.
    """

    def __init__(
        self,
        data: Path,
        *,
        parts: Sequence[str] = PARTS,
        ports: Mapping[str, int] | None = None,
        ready_file: Path | None = None,
        report: Report = lambda _: None,
    ) -> None:
        unknown = set(parts) - set(PARTS)
        if unknown:
            raise EmbeddedError(f"There is no part {', '.join(sorted(unknown))}: the parts are {', '.join(PARTS)}.")
        self.paths = StackPaths(data.absolute())
        self.parts = tuple(parts)
        self.kafka = ""
        self.registry = ""
        self.postgres = ""
        self._given = dict(ports or {})
        self._report = report
        self._announced = [self.paths.run, *([] if ready_file is None else [ready_file.absolute()])]
        self._describe: Callable[[], Ready] | None = None
        self._lock = FolderLock(self.paths.lock)
        self._running: list[Supervised] = []
        self._archives: list[tuple[Archive, Command]] = []
        self._archiving: asyncio.Task[None] | None = None

    @property
    def addresses(self) -> Addresses:
        """Where the parts are; empty for those that do not run."""
        return Addresses(kafka=self.kafka, registry=self.registry, postgres=self.postgres)

    @property
    def processes(self) -> dict[str, RunningPart]:
        """The processes by part."""
        return {part.name: RunningPart(part.pid) for part in self._running if part.pid is not None}

    async def __aenter__(self) -> Self:
        try:
            self.paths.create()
        except OSError as exc:
            raise EmbeddedError(
                f"The data folder {self.paths.data} cannot be written ({exc.strerror}): choose another with --data."
            ) from exc
        await self._lock.acquire()
        self.withdraw()
        try:
            with log_shown(self._report):
                await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    def announce(self, describe: Callable[[], Ready]) -> None:
        """Write the ready file and run.json in the data folder (0600, atomically); they go when the stack stops.

        :param describe: says what runs now; asked again after a part was restarted (see `refresh`).
        :raises OSError: the ready file cannot be written.
        """
        self._describe = describe
        self.refresh()

    def refresh(self) -> None:
        """Write again what `announce` wrote, as it is now."""
        if self._describe is None:
            return
        document = self._describe().document()
        for path in self._announced:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_private_json(path, document)

    def withdraw(self) -> None:
        """Remove what `announce` wrote; harmless when there is nothing."""
        self._describe = None
        for path in self._announced:
            path.unlink(missing_ok=True)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        names = [name for part in self.parts for name in _PORTS_OF[part]]
        remembered = load_ports(self.paths.ports)
        ports = choose_ports(
            names, given=self._given, remembered=remembered, is_free=port_is_free, folder=self.paths.data
        )
        save_ports(self.paths.ports, remembered | ports)
        starters = {"kafka": self._start_kafka, "registry": self._start_registry, "postgres": self._start_postgres}
        await all_or_none([starters[part](ports) for part in self.parts])
        self._archiving = asyncio.create_task(self._make_archives())

    async def _stop(self) -> None:
        self.withdraw()
        if self._archiving is not None:
            self._archiving.cancel()
            await asyncio.gather(self._archiving, return_exceptions=True)
        # Clients of the broker are gone by now; the three do not know one another, so they stop together.
        await asyncio.gather(*(part.stop() for part in self._running))
        self._running.clear()
        self._lock.release()

    async def _start_kafka(self, ports: Mapping[str, int]) -> None:
        plan = KafkaPlan(
            folder=self.paths.kafka,
            port=ports["kafka"],
            controller_port=ports["controller"],
            jars=await self._installed("kafka"),
            java=find_java(),
            log=self.paths.log("kafka"),
            lock=self._lock.descriptor,
        )
        plan.prepare()
        await plan.format_if_new()
        self.kafka = plan.address
        await self._supervise(
            self._archived(plan.command(), plan.jars, plan.java), lambda: kafka_answers(plan.address), plan.address
        )

    async def _start_registry(self, ports: Mapping[str, int]) -> None:
        plan = RegistryPlan(
            folder=self.paths.registry,
            port=ports["registry"],
            program=await self._installed("registry"),
            java=find_java(),
            log=self.paths.log("registry"),
            lock=self._lock.descriptor,
        )
        self.registry = plan.url
        await self._supervise(
            self._archived(plan.command(), plan.program, plan.java), lambda: registry_answers(plan.url), plan.url
        )

    async def _start_postgres(self, ports: Mapping[str, int]) -> None:
        plan = PostgresPlan(
            folder=self.paths.postgres,
            port=ports["postgres"],
            binaries=find_postgres(),
            account=unprivileged_account(),
            log=self.paths.log("postgres"),
            lock=self._lock.descriptor,
        )
        for folder in await plan.create_if_new():
            self._report(f"postgres runs as a user of its own, which may now pass through {folder}")
        self.postgres = plan.dsn()
        await self._supervise(plan.command(), lambda: postgres_answers(plan.dsn()), f"127.0.0.1:{plan.port}")

    async def _supervise(self, command: Command, probe: Probe, where: str) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        part = Supervised(command, probe, ready_within_s=_READY_WITHIN_S, report=self._report, restarted=self.refresh)
        await part.start()
        self._running.append(part)
        self._report(f"{part.name} is ready at {where} ({loop.time() - since:.1f} s)")

    def _archived(self, part: Command, package: Path, java: Java) -> Command:
        archive = Archive.of(part.name, package=package, java=java, data=self.paths.data)
        self._archives.append((archive, part))
        return archive.use(part)

    async def _make_archives(self) -> None:
        for archive, part in self._archives:
            try:
                await archive.make(part, self._report)
            except OSError as exc:
                self._report(f"{part.name} has no class archive and starts slower: {exc}")

    async def _installed(self, name: str) -> Path:
        cache = cache_folder(os.environ)
        package = load_packages()[name]
        folder = package.folder(cache)
        if not folder.exists():
            await download(package, self._report)
        return folder
