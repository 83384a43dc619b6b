"""What is public is chosen in one place, loads when it is used, and is enough for a stage."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import millrace
import millrace.testing
from scripts.figures import code_lines

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "links"
MOST_LINES = 100


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    stub = ast.parse((ROOT / "millrace" / "__init__.pyi").read_text())
    named = [alias for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(alias.name for alias in named) == sorted(vars(millrace)["__all__"])
    assert all(alias.asname == alias.name for alias in named), "no name has a second one"
    for name in vars(millrace)["__all__"]:
        found = getattr(millrace, name)
        assert isinstance(found, str) or found.__doc__, name
    assert all(hasattr(millrace.testing, name) for name in millrace.testing.__all__)


def test_nothing_is_loaded_before_it_is_used() -> None:
    heavy = ("faust", "openai", "asyncpg", "aiokafka", "fastavro")
    program = f"import millrace, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_is_not_public_is_none() -> None:
    with pytest.raises(AttributeError, match="JobRunner"):
        _ = millrace.JobRunner  # type: ignore[attr-defined]


def test_the_example_is_small_and_needs_public_names_only() -> None:
    python = sum(code_lines(path.read_text()) for path in EXAMPLE.glob("*.py"))
    contracts = [path for path in (EXAMPLE / "schemas").rglob("*") if path.is_file()]
    declared = sum(bool(line.strip()) for path in contracts for line in path.read_text().splitlines())
    assert python + declared <= MOST_LINES
    assert len((EXAMPLE / "stage.py").read_text().splitlines()) <= MOST_LINES
    imported = {
        module
        for path in EXAMPLE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for module in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert {module for module in imported if module.startswith("millrace")} == {"millrace", "millrace.testing"}
