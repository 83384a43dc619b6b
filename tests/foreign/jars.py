"""Jars of other people's readers, from Maven Central into the cache; their checksums are in artifacts.lock."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from millrace.embedded.artifacts import parse_lock
from millrace.embedded.fetch import MIRROR_VARIABLE, fetch
from millrace.embedded.paths import cache_folder

_LOCK = Path(__file__).with_name("artifacts.lock")


def fetch_jars(package: str) -> list[Path]:
    """The jars of a package of the lock, downloaded if they are not here.

    :raises DownloadFailed: one cannot be had, or has another checksum.
    """
    found = parse_lock(_LOCK.read_text(encoding="utf-8"))[package]
    folder = fetch(found, cache_folder(os.environ), _say, os.environ.get(MIRROR_VARIABLE))
    return sorted(folder.glob("*.jar"))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
