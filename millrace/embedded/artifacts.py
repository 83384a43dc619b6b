"""The Java packages of the stack: which files, how large, with which checksum (artifacts.lock).

Made by `python -m millrace.embedded.relock`; the lock saves walking 100 POM files at the first start, and makes
every installation the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

_LOCK = Path(__file__).with_name("artifacts.lock")
_TITLES = {"kafka": "Kafka", "registry": "the schema registry (Apicurio)"}


@dataclass(frozen=True)
class Artifact:
    """One file of a Maven repository; `coordinate` is group:artifact:version[:classifier]:extension."""

    coordinate: str
    size: int
    sha256: str

    @property
    def version(self) -> str:
        """The version in its coordinate."""
        return self.coordinate.split(":")[2]


@dataclass(frozen=True)
class Package:
    """What a part needs: its artifacts, the part's own first."""

    name: str
    artifacts: tuple[Artifact, ...]

    @property
    def title(self) -> str:
        """For people: name and version."""
        return f"{_TITLES.get(self.name, self.name)} {self.artifacts[0].version}"

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(artifact.size for artifact in self.artifacts)

    def folder(self, cache: Path) -> Path:
        """Where it lies in the cache once complete: it exists only then. Another lock, another folder."""
        digest = hashlib.sha256("".join(artifact.sha256 for artifact in self.artifacts).encode()).hexdigest()
        return cache / f"{self.name}-{self.artifacts[0].version}-{digest[:8]}"


def parse_lock(text: str) -> dict[str, Package]:
    """Packages by name, from lines of `package coordinate size sha256`."""
    found: dict[str, list[Artifact]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            package, coordinate, size, sha256 = line.split()
            found.setdefault(package, []).append(Artifact(coordinate, int(size), sha256))
    return {name: Package(name, tuple(artifacts)) for name, artifacts in found.items()}


def load_packages() -> dict[str, Package]:
    """The packages of the lock that ships with Millrace."""
    return parse_lock(_LOCK.read_text(encoding="utf-8"))
