"""Flink as a program of its own: PyFlink in an environment of its own, because its pins are older than ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from millrace.embedded.java import find_java
from millrace.embedded.lock import exclusive
from millrace.embedded.paths import cache_folder
from tests.foreign.jars import fetch_jars
from tests.foreign.statements import texts
from tests.support.process import ROOT

FLINK: Final = "2.3.0"
SPEND: Final = ROOT / "deploy" / "flink" / "spend_per_hour.sql"
_PYTHONS: Final = ((3, 9), (3, 12))
"""Oldest and newest Python that this version has wheels for."""
_JOB: Final = Path(__file__).with_name("flink_job.py")
_INSTALL_WITHIN_S, _RUN_WITHIN_S = 900, 300


class FlinkMissing(Exception):
    """Flink could not be installed here; says why."""


def install() -> Path:
    """The Python that has PyFlink; installed into the cache by uv the first time (730 MB).

    :raises FlinkMissing: it cannot be installed.
    """
    cache = cache_folder(os.environ)
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"pyflink-{FLINK}"
    python = folder / "bin" / "python"
    with exclusive(cache / "pyflink.lock"):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            oldest, newest = _PYTHONS
            ours = sys.version_info[:2]
            version = ".".join(map(str, ours if oldest <= ours <= newest else newest))
            _uv("venv", "--python", version, str(folder))
            _uv("pip", "install", "--python", str(python), f"apache-flink=={FLINK}")
            (folder / "complete").touch()
    return python


def _uv(*arguments: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    ended = subprocess.run(
        [uv, "--quiet", *arguments], check=False, capture_output=True, text=True, timeout=_INSTALL_WITHIN_S
    )
    if ended.returncode:
        raise FlinkMissing(f"PyFlink {FLINK} could not be installed: {ended.stderr.strip()[-500:]}")


def run_sql(python: Path, sql: str, jars: list[Path], scratch: Path) -> list[dict[str, object]]:
    """Rows of the last statement, as Flink gives them.

    :raises RuntimeError: Flink failed; with the end of what it said.
    """
    asked = {"jars": [str(jar) for jar in jars], "statements": texts(sql)}
    java = find_java().executable
    ended = subprocess.run(
        [python, _JOB],
        input=json.dumps(asked),
        env={**os.environ, "JAVA_HOME": str(java.resolve().parents[1])},
        cwd=scratch,
        check=False,
        capture_output=True,
        text=True,
        timeout=_RUN_WITHIN_S,
    )
    if ended.returncode:
        raise RuntimeError(f"Flink failed:\n{ended.stderr[-3000:]}")
    rows: list[dict[str, object]] = json.loads(ended.stdout.splitlines()[-1])
    return rows


def spend_sql(kafka: str, registry: str, topic: str) -> str:
    """deploy/flink/spend_per_hour.sql with its variables filled in, on this topic of decisions."""
    sql = SPEND.read_text(encoding="utf-8")
    values: Mapping[str, str] = {
        "${MILLRACE_KAFKA}": kafka,
        "${MILLRACE_REGISTRY}": registry,
        "'cost.decisions'": f"'{topic}'",
    }
    for name, value in values.items():
        if name not in sql:
            raise LookupError(f"{SPEND} does not say {name}")
        sql = sql.replace(name, value)
    return sql


def flink_jars() -> list[Path]:
    """The connector and the format."""
    return fetch_jars("flink")
