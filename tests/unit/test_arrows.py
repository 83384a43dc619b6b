"""The contracts of imports in `pyproject.toml` cover what they are said to cover."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PURE = re.compile(r"\b(pure(ly)?|no I/O|without I/O)\b(?! but)", re.IGNORECASE)
"""`Pure but for` something is not pure."""


def contract(name: str) -> dict[str, Any]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (found,) = (one for one in contracts if one["name"] == name)
    return dict(found)


def modules() -> dict[str, str]:
    """Every module with the first paragraph of its docstring."""
    found = {}
    for path in (path for package in ("millrace", "services") for path in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0]
    return found


def test_what_says_that_it_is_pure_is_held_to_it() -> None:
    said = {name for name, text in modules().items() if PURE.search(text)}
    held = contract("What decides does no I/O")["source_modules"]
    assert sorted(held) == sorted(set(held)), "each once"
    assert set(held) == said
