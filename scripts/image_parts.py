"""`python scripts/image_parts.py [TARGET …]`: what an image would hold, without a container engine.

Installs what deploy/image/Dockerfile installs for a target into an empty environment, by the same command, imports
the service from there, and says how large it is. It downloads what is not in uv's cache.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
DOCKERFILE: Final = ROOT / "deploy" / "image" / "Dockerfile"
UV: Final = Path(sys.executable).with_name("uv")


@dataclass(frozen=True)
class Target:
    """One image of the Dockerfile: the extras it installs, the package it takes out again, the command it runs."""

    name: str
    extras: str
    without: str
    command: tuple[str, ...]

    @property
    def module(self) -> str | None:
        """The service's package, where it runs one."""
        return self.command[2] if self.command[:2] == ("python", "-m") else None


def targets(text: str) -> dict[str, Target]:
    """The targets that install packages, by name, out of a Dockerfile."""
    packages = re.findall(
        r"^FROM build AS ([\w-]+)-packages\n.*\n    uv pip install .* '\.\[([\w,]+)\]'"
        r"(?: \\\n && uv pip uninstall .* (\w+))?$",
        text,
        re.MULTILINE,
    )
    commands = dict(re.findall(r"^FROM \w+ AS ([\w-]+)\n(?:(?!FROM).*\n)*?CMD \[(.*)\]$", text, re.MULTILINE))
    return {
        name: Target(name, extras, without, tuple(re.findall(r'"([^"]*)"', commands[name])))
        for name, extras, without in packages
    }


def install(target: Target, folder: Path) -> Path:
    """Its packages in a new environment; returns the environment's Python."""
    python = folder / "bin" / "python"
    subprocess.run((UV, "venv", "--quiet", "--python", sys.executable, folder), check=True)
    constraints = ("--constraint", str(ROOT / "constraints.txt"))
    words = (UV, "pip", "install", "--quiet", "--python", python, *constraints, f"{ROOT}[{target.extras}]")
    subprocess.run(words, check=True)
    if target.without:
        subprocess.run((UV, "pip", "uninstall", "--quiet", "--python", python, target.without), check=True)
    return python


def imports(target: Target, python: Path) -> None:
    """Import what it runs, from its environment and from nowhere else.

    :raises subprocess.CalledProcessError: something is missing.
    """
    names = ["millrace.health"] + ([f"{target.module}.__main__", f"{target.module}.app"] if target.module else [])
    names += [] if target.module else ["millrace.cli.main"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = f"import importlib; [importlib.import_module(name) for name in {names!r}]"
    subprocess.run((python, "-P", "-c", code), check=True, cwd="/", env=environment)


def megabytes(folder: Path) -> float:
    """What lies in a folder, in MB."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main(names: list[str]) -> int:
    """Exit status: 0 all are complete, 1 not."""
    known = targets(DOCKERFILE.read_text())
    wrong = False
    for name in names or sorted(known):
        with tempfile.TemporaryDirectory(prefix="millrace-image-") as made:
            folder = Path(made) / "packages"
            try:
                imports(known[name], install(known[name], folder))
                said = "complete"
            except subprocess.CalledProcessError as exc:
                said, wrong = f"incomplete (status {exc.returncode})", True
            sys.stdout.write(f"{name:<18} {megabytes(folder):>6.0f} MB  [{known[name].extras}]  {said}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
