"""Where the embedded stack keeps things: one data folder, and one cache folder for downloads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "MILLRACE_CACHE"


def default_data() -> Path:
    """The data folder used when none is named."""
    return Path(platformdirs.user_data_dir("millrace", appauthor=False))


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where downloads are kept: `MILLRACE_CACHE`, or the user's cache directory."""
    named = environment.get(CACHE_VARIABLE)
    return Path(named).absolute() if named else Path(platformdirs.user_cache_dir("millrace", appauthor=False))


@dataclass(frozen=True)
class StackPaths:
    """The layout of a data folder; nothing of a stack lies outside it."""

    data: Path

    @property
    def lock(self) -> Path:
        """Held by the stack and its children while any of them lives."""
        return self.data / "stack.lock"

    @property
    def ports(self) -> Path:
        """The ports of the last start, so that addresses survive a restart."""
        return self.data / "ports.json"

    @property
    def run(self) -> Path:
        """What runs now: addresses, process ids, ops URLs."""
        return self.data / "run.json"

    @property
    def secret(self) -> Path:
        """What tokens of this stack are signed with."""
        return self.data / "secret"

    @property
    def kafka(self) -> Path:
        """Broker configuration and logs of topics."""
        return self.data / "kafka"

    @property
    def registry(self) -> Path:
        """The registry's H2 database."""
        return self.data / "registry"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data directory and its password."""
        return self.data / "postgres"

    @property
    def blobs(self) -> Path:
        """The local media store."""
        return self.data / "blobs"

    def log(self, name: str) -> Path:
        """The log file of a part or service."""
        return self.data / "logs" / f"{name}.log"

    def create(self) -> None:
        """Make the folders.

        :raises OSError: when the data folder cannot be written.
        """
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.kafka, self.registry, self.postgres, self.blobs, self.data / "logs"):
            folder.mkdir(exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write atomically with mode 0600: a reader sees the old file, the new one, or none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_private_json(path: Path, value: object) -> None:
    """Write a JSON document as `write_private` does."""
    write_private(path, json.dumps(value, indent=2) + "\n")
