"""Writes the arrows into docs/architecture.md, as pyproject.toml has them: `python scripts/arrows.py`."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "```arrows\n", "```\n"


def arrows() -> str:
    """All layers that lint enforces, one block for each contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    blocks = []
    for contract in contracts:
        if contract["type"] == "layers":
            within = ", ".join(contract["containers"])
            blocks.append("\n".join([f"{within}:", *(f"    {layer}" for layer in contract["layers"])]))
    return "\n\n".join(blocks) + "\n"


def page(text: str) -> str:
    """The page with the arrows of today."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{arrows()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
