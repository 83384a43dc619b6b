"""compose.kafka.yml as tests read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = ROOT / "compose.kafka.yml"
SECRETS: Final = "deploy/compose/secrets/"
"""Made by scripts/start and in no repository."""


def document() -> dict[str, Any]:
    """The whole file, with its anchors resolved."""
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return read


def services() -> dict[str, dict[str, Any]]:
    """Services by name."""
    found: dict[str, dict[str, Any]] = document()["services"]
    return found


def health_command(service: str) -> list[str]:
    """The very command that Docker runs for a service's health, without the word CMD in front."""
    test = services()[service]["healthcheck"]["test"]
    assert test[0] == "CMD"
    return [str(word) for word in test[1:]]
