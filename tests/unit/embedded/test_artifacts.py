"""The lock of Java packages, and a download that does not match it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from millrace.embedded.artifacts import Artifact, Package, load_packages, parse_lock
from millrace.embedded.errors import DownloadFailed
from millrace.embedded.fetch import fetch

_JAR = b"a jar"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def repository(folder: Path) -> Iterator[str]:
    """A Maven repository on loopback with one artifact, org.example:thing:1.0."""
    place = folder / "org" / "example" / "thing" / "1.0"
    place.mkdir(parents=True)
    (place / "thing-1.0.jar").write_bytes(_JAR)
    (place / "thing-1.0.jar.sha1").write_text(hashlib.sha1(_JAR, usedforsecurity=False).hexdigest())
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def package(sha256: str = hashlib.sha256(_JAR).hexdigest(), name: str = "thing") -> Package:
    return Package("kafka", (Artifact(f"org.example:{name}:1.0:jar", len(_JAR), sha256),))


def quiet(_: str) -> None:
    pass


def test_the_shipped_lock_names_one_version_of_kafka_and_all_checksums() -> None:
    packages = load_packages()
    kafka = packages["kafka"]
    own = {artifact.version for artifact in kafka.artifacts if artifact.coordinate.startswith("org.apache.kafka:")}
    assert own == {kafka.artifacts[0].version}
    assert all(
        len(artifact.sha256) == 64 and artifact.size > 0 for one in packages.values() for artifact in one.artifacts
    )


def test_a_changed_lock_is_another_folder_of_the_cache() -> None:
    (one,) = parse_lock("# comment\nkafka org.example:thing:1.0:jar 5 aa\n").values()
    (other,) = parse_lock("kafka org.example:thing:1.0:jar 5 bb\n").values()
    assert one.folder(Path("/c")) != other.folder(Path("/c"))


def test_a_download_lands_complete_and_is_not_fetched_again(tmp_path: Path) -> None:
    with repository(tmp_path / "remote") as url:
        folder = fetch(package(), tmp_path / "cache", quiet, url)
    assert [file.name for file in folder.iterdir()] == ["thing-1.0.jar"]
    assert fetch(package(), tmp_path / "cache", quiet, "http://127.0.0.1:1") == folder


def test_a_file_with_another_checksum_never_reaches_the_cache(tmp_path: Path) -> None:
    wrong = package(sha256="0" * 64)
    with repository(tmp_path / "remote") as url, pytest.raises(DownloadFailed, match="not the expected one"):
        fetch(wrong, tmp_path / "cache", quiet, url)
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_no_network_is_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="check the network, or name a mirror"):
        fetch(package(), tmp_path, quiet, "http://127.0.0.1:1")


def test_what_a_killed_download_left_is_removed_and_no_obstacle(tmp_path: Path) -> None:
    left = tmp_path / "cache" / ".kafka.4711"
    (left / "content").mkdir(parents=True)
    (left / "content" / "thing-1.0.jar").write_bytes(b"half a j")
    with repository(tmp_path / "remote") as url:
        folder = fetch(package(), tmp_path / "cache", quiet, url)
    assert (folder / "thing-1.0.jar").read_bytes() == _JAR
    assert not left.exists()
