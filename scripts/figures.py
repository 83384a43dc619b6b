"""Figures about the code, for docs/quality.md: `python scripts/figures.py [CHECKOUT]`."""

from __future__ import annotations

import ast
import io
import json
import re
import statistics
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

PRODUCTION = ("millrace", "services")
_NOT_CODE = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)


def files(root: Path, *folders: str) -> list[Path]:
    """Python files below folders of a checkout."""
    return sorted(
        path for folder in folders for path in (root / folder).rglob("*.py") if "migrations" not in path.parts
    )


def code_lines(source: str) -> int:
    """Lines that hold code: neither blank, nor comments, nor docstrings."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NOT_CODE:
            held.update(range(token.start[0], token.end[0] + 1))
    return len(held - docstrings)


def functions(path: Path) -> Iterator[tuple[int, str]]:
    """Length in lines and name of each function of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1, f"{path.stem}.{node.name}"


def public_names(root: Path) -> int | None:
    """Names that `millrace` exports; None before it chose them."""
    stub = root / "millrace" / "__init__.pyi"
    return len(re.findall(r"^from .* import ", stub.read_text(), re.MULTILINE)) if stub.exists() else None


def duplicated_blocks(root: Path) -> int | None:
    """Pairs of places with six equal lines, by pylint, which is fetched for it; None where that fails."""
    uv = Path(sys.executable).with_name("uv")
    argv = [str(uv), "tool", "run", "--quiet", "pylint", "--disable=all", "--enable=duplicate-code", "--recursive=y"]
    options = ["--min-similarity-lines=6", "--ignore-imports=y", "--ignore-docstrings=y", "--output-format=json"]
    done = subprocess.run(
        [*argv, *options, *PRODUCTION, "tests"], cwd=root, capture_output=True, text=True, check=False
    )
    try:
        return len(json.loads(done.stdout))
    except ValueError:
        return None


def figures(root: Path) -> dict[str, object]:
    """Everything, by name."""
    production = files(root, *PRODUCTION)
    sizes = {path: len(path.read_text().splitlines()) for path in production}
    largest = max(sizes, key=lambda path: sizes[path])
    lengths = sorted(found for path in production for found in functions(path))
    every = files(root, *PRODUCTION, "tests", "benchmarks", "scripts", "examples")
    text = "\n".join(path.read_text() for path in every)
    return {
        "files": len(production),
        "lines": sum(sizes.values()),
        "median_file": int(statistics.median(size for size in sizes.values() if size)),
        "largest_file": f"{largest.relative_to(root)} ({sizes[largest]})",
        "files_above_250": sum(size > 250 for size in sizes.values()),
        "largest_function": f"{lengths[-1][1]} ({lengths[-1][0]})",
        "functions_above_40": sum(length > 40 for length, _ in lengths),
        "public_names": public_names(root),
        "duplicated_blocks": duplicated_blocks(root),
        "type_ignores": len(re.findall(r"# type: ignore", text)),
        "noqas": len(re.findall(r"# noqa", text)),
        "code_lines_of_agents_beyond_their_domain": sum(
            code_lines(path.read_text())
            for path in files(root, "services")
            if path.parent.name.endswith("_agent") and path.stem in ("app", "__main__", "worker", "replay", "build")
        ),
    }


if __name__ == "__main__":
    print(json.dumps(figures(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()), indent=2))  # noqa: T201
