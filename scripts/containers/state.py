"""How the containers of compose.kafka.yml stand, as Compose tells it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Container:
    """One of the project's containers, as Compose tells it. `health` is empty where nothing checks it."""

    service: str
    state: str
    health: str
    exit_code: int

    @property
    def failed(self) -> bool:
        """It ended with an error; one that is started again over and over shows as restarting."""
        return self.state in {"exited", "dead"} and self.exit_code != 0

    @property
    def done(self) -> bool:
        """It is healthy, or was a job that ended well."""
        if self.state == "exited":
            return self.exit_code == 0
        return self.state == "running" and self.health in {"", "healthy"}

    @property
    def words(self) -> str:
        """How it stands."""
        if self.failed:
            return f"over, with status {self.exit_code}"
        return self.health if self.state == "running" and self.health else self.state


def containers(text: str) -> dict[str, Container]:
    """Read `docker compose ps --all --format json`: one object a line, or one list, by Compose's version."""
    lines = [line for line in text.splitlines() if line.strip()]
    found: list[dict[str, Any]] = []
    for line in lines:
        value = json.loads(line)
        found += value if isinstance(value, list) else [value]
    return {
        one["Service"]: Container(
            one["Service"], one["State"], one.get("Health") or "", int(one.get("ExitCode") or 0)
        )
        for one in found
    }


def progress(wanted: Sequence[str], found: Mapping[str, Container]) -> str:
    """How far the start is, in a line."""
    done = [name for name in wanted if name in found and found[name].done]
    waiting = [f"{name} ({found[name].words if name in found else 'waits'})" for name in wanted if name not in done]
    text = f"{len(done)} of {len(wanted)} are up"
    return f"{text}; not yet: {', '.join(waiting)}" if waiting else text
