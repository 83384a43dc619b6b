"""Writes deploy/grafana/dashboards: `python -m scripts.grafana`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from scripts.grafana import costs, pipeline, producer

TARGET: Final = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"


def files() -> dict[str, str]:
    """Text of each file, by its name."""
    return {
        f"{module.__name__.rpartition('.')[2]}.json": text(module.BOARD) for module in (producer, pipeline, costs)
    }


def text(board: dict[str, Any]) -> str:
    """A dashboard as Grafana reads it, a line a value, so that a change shows where it is."""
    return json.dumps(board, indent=2) + "\n"


def main() -> None:
    """Write them all."""
    for name, content in files().items():
        (TARGET / name).write_text(content)


if __name__ == "__main__":
    main()
