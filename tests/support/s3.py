"""Real S3 servers as processes: s3mock, from Maven, and versitygw, where the developer names its program."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from millrace.embedded.artifacts import parse_lock
from millrace.embedded.fetch import MIRROR_VARIABLE, fetch
from millrace.embedded.java import find_java
from millrace.embedded.paths import cache_folder
from millrace.settings import StorageSettings
from tests.support.process import begin, free_port
from tests.support.waiting import until

# Of tests alone, so it is not in artifacts.lock, whose packages `make setup` downloads.
_S3MOCK: Final = parse_lock(
    "s3mock com.adobe.testing:s3mock:4.11.0:exec:jar 61343485 "
    "30916126e4cf559ca3fd25a1ff481eb64f7bfd2e05eb1ea83600999774f63f84"
)["s3mock"]
VERSITYGW: Final = "MILLRACE_TEST_VERSITYGW"
ACCESS_KEY, SECRET_KEY = "test-access-key", "test-secret-key"
_READY_WITHIN_S: Final = 90.0


class S3Server:
    """One server, which can be killed and started again on the same port over the same data."""

    def __init__(self, program: tuple[str, ...], environment: dict[str, str], port: int, log: Path) -> None:
        self._program = program
        self._environment = environment
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = begin(self._program, self._log, self._environment)

        def answers() -> bool:
            assert self._process.poll() is None, self._log.read_text()
            try:
                return httpx.get(self.url, timeout=2, trust_env=False).status_code < 500
            except httpx.HTTPError:
                return False

        until(answers, f"the S3 server: see {self._log}", _READY_WITHIN_S)

    def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        self._process.wait(timeout=10)

    def signal(self, what: signal.Signals) -> None:
        """Send it a signal."""
        if self._process.poll() is None:
            self._process.send_signal(what)

    def settings(self, bucket: str, **more: object) -> StorageSettings:
        """Settings for a bucket of it."""
        known = {
            "storage_mode": "s3",
            "s3_bucket": bucket,
            "s3_endpoint": self.url,
            "s3_access_key_id": ACCESS_KEY,
            "s3_secret_access_key": SECRET_KEY,
            "s3_path_style": True,
        }
        return StorageSettings.model_validate({**known, **more})


@contextmanager
def s3mock(folder: Path) -> Iterator[S3Server]:
    """s3mock: knows lifecycle rules and encryption headers, and looks at no signature."""
    package = fetch(_S3MOCK, cache_folder(os.environ), print, os.environ.get(MIRROR_VARIABLE))
    (jar,) = package.glob("*.jar")
    data, scratch, port = folder / "data", folder / "scratch", free_port()
    scratch.mkdir()
    settings = {
        "java.io.tmpdir": str(scratch),
        "server.port": str(free_port()),
        "server.address": "127.0.0.1",
        "com.adobe.testing.s3mock.http-port": str(port),
        "com.adobe.testing.s3mock.store.root": str(data),
        "com.adobe.testing.s3mock.store.retain-files-on-exit": "true",
    }
    small = ("-Xmx256m", "-XX:-UsePerfData", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    flags = (*small, *(f"-D{name}={value}" for name, value in settings.items()))
    yield from _served((str(find_java().executable), *flags, "-jar", str(jar)), {}, port, folder)


@contextmanager
def versitygw(folder: Path) -> Iterator[S3Server]:
    """versitygw: checks signatures, and knows no lifecycle rules."""
    program = os.environ.get(VERSITYGW)
    if not program or shutil.which(program) is None:
        pytest.skip(f"{VERSITYGW} names no program: go install github.com/versity/versitygw/cmd/versitygw@latest")
    port = free_port()
    data, beside = folder / "data", folder / "metadata"
    for made in (data, beside):
        made.mkdir()
    keys = {"ROOT_ACCESS_KEY_ID": ACCESS_KEY, "ROOT_SECRET_ACCESS_KEY": SECRET_KEY}
    words = ("--quiet", "--port", f"127.0.0.1:{port}", "posix", "--sidecar", str(beside), str(data))
    yield from _served((program, *words), keys, port, folder)


def _served(program: tuple[str, ...], environment: dict[str, str], port: int, folder: Path) -> Iterator[S3Server]:
    server = S3Server(program, environment, port, folder / "server.log")
    try:
        yield server
    finally:
        server.kill()
