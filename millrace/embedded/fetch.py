"""Download one package into the cache: `python -m millrace.embedded.fetch kafka`.

A process of its own, so that Ctrl-C can end a download at once. The package's folder appears by one rename when
every file is there and has its checksum; a download that was killed leaves only a staging folder, removed by
the next one; two at once wait for one another.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import requests
from jgo.maven import MavenContext

from millrace.embedded.artifacts import Artifact, Package, load_packages
from millrace.embedded.errors import DownloadFailed
from millrace.embedded.lock import exclusive
from millrace.embedded.paths import cache_folder
from millrace.embedded.supervise import Report

MIRROR_VARIABLE = "MILLRACE_MAVEN_MIRROR"
_PARALLEL = 8
_REPORT_EVERY_S = 2.0
_TIMEOUT_S = 60


def fetch(package: Package, cache: Path, report: Report, mirror: str | None = None) -> Path:
    """Make sure the package is in the cache and return its folder.

    :param mirror: base URL of a Maven repository to use instead of Maven Central.
    :raises DownloadFailed: a file cannot be had, or has another checksum than the lock.
    """
    final = package.folder(cache)
    if final.exists():
        return final
    cache.mkdir(parents=True, exist_ok=True)
    with exclusive(cache / f"{package.name}.lock"):
        if final.exists():  # another process fetched it while this one waited
            return final
        for leftover in cache.glob(f".{package.name}.*"):
            shutil.rmtree(leftover)
        staging = cache / f".{package.name}.{os.getpid()}"
        staging.mkdir()
        try:
            _download(package, staging, report, mirror)
            (staging / "content").rename(final)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return final


def _download(package: Package, staging: Path, report: Report, mirror: str | None) -> None:
    repositories = {"central": mirror.rstrip("/")} if mirror else None
    context = MavenContext(
        repo_cache=staging / "maven", local_repos=[], remote_repos=repositories, timeout=_TIMEOUT_S
    )
    content = staging / "content"
    content.mkdir()
    with _progress(package, staging, report), ThreadPoolExecutor(_PARALLEL) as pool:
        for path in pool.map(lambda artifact: _one(context, artifact), package.artifacts):
            if path.name.endswith(".tar.gz"):
                _unpack(path, content)
            else:
                path.rename(content / path.name)


def _one(context: MavenContext, artifact: Artifact) -> Path:
    group, name, version, *classifier, extension = artifact.coordinate.split(":")
    wanted = context.project(group, name).at_version(version).artifact("".join(classifier), extension)
    try:
        path = Path(wanted.resolve())
    except (requests.RequestException, RuntimeError) as exc:
        raise DownloadFailed(
            f"Could not download {artifact.coordinate} ({type(exc).__name__}): check the network, or name a "
            f"mirror of Maven Central in {MIRROR_VARIABLE}."
        ) from exc
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != artifact.sha256:
        raise DownloadFailed(
            f"{artifact.coordinate} has checksum {found}, not the expected one: do not use its source."
        )
    return path


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # missing before Python 3.11.4
        tar.extractall(folder)  # noqa: S202 - its checksum is the lock's
    archive.unlink()


@contextmanager
def _progress(package: Package, folder: Path, report: Report) -> Iterator[None]:
    """Say every two seconds how much has arrived."""
    done = threading.Event()
    started = time.monotonic()

    def watch() -> None:
        while not done.wait(_REPORT_EVERY_S):
            arrived = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            report(f"{package.title}: {min(arrived, package.size) >> 20} of {package.size >> 20} MiB")

    report(f"{package.title}: downloading {package.size >> 20} MiB, once")
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    report(f"{package.title}: downloaded in {time.monotonic() - started:.0f} s")


def main(arguments: list[str]) -> int:
    """Fetch the named packages (all without names); progress on stdout, an error as one sentence on stderr."""
    packages = load_packages()
    cache = cache_folder(os.environ)
    for name in arguments or packages:
        try:
            fetch(packages[name], cache, _print, os.environ.get(MIRROR_VARIABLE))
        except DownloadFailed as exc:
            sys.stderr.write(f"{exc}\n")
            return 1
    return 0


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
