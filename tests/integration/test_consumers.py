"""The readers of examples/consumers on real topics: events of all kinds and versions, repeats, tombstones, aborted.

All of them end with the same files, and say the same of each message.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from examples.consumers.keeping import Keeper
from millrace.contracts.provision import register_schemas
from millrace.embedded.readyfile import Addresses
from tests.foreign.jars import fetch_jars
from tests.support.readers import CATALOG, JAVA, KCAT, PYTHON, Told, compiled_java, files, read, tell, without_values

NO_KCAT: Final = pytest.mark.skipif(
    shutil.which("kcat") is None, reason="kcat is not installed (Debian: apt-get install kcat)"
)


@pytest.fixture(scope="module")
def told(stack: Addresses) -> Iterator[Told]:
    """The story on topics of the tests' own."""
    register_schemas(stack.registry, CATALOG, report=lambda _: None)
    made = Told(stack.cluster, stack.registry, f"t{uuid.uuid4().hex[:10]}.")
    admin = AdminClient(stack.cluster.librdkafka())
    for created in admin.create_topics([NewTopic(topic, 2, 1) for topic in made.topics]).values():
        created.result(30)
    tell(made)
    yield made
    admin.delete_topics(made.topics)


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str | Path]:
    return compiled_java(tmp_path_factory.mktemp("classes"))


def _as_told(told: Told, program: Sequence[str | Path], folder: Path) -> None:
    assert read(told, program, folder, uuid.uuid4().hex) == told.said
    assert files(folder) == told.kept
    # A group that begins anew is told everything once more, and nothing comes of it.
    read(told, program, folder, uuid.uuid4().hex)
    assert files(folder) == told.kept


@pytest.mark.parametrize("name", PYTHON)
def test_a_reader_in_python_keeps_the_newest_of_each_share(told: Told, name: str, tmp_path: Path) -> None:
    _as_told(told, PYTHON[name], tmp_path / "kept")


def test_a_reader_in_java_keeps_the_newest_of_each_share(
    told: Told, java: Sequence[str | Path], tmp_path: Path
) -> None:
    _as_told(told, java, tmp_path / "kept")


@NO_KCAT
def test_a_reader_with_kcat_keeps_which_event_is_the_newest(told: Told, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    said = read(told, KCAT, folder, "none")
    assert (said, files(folder)) == without_values(told)


@pytest.mark.parametrize("name", PYTHON)
def test_a_reader_goes_on_where_its_group_has_ended(told: Told, name: str, tmp_path: Path) -> None:
    group = uuid.uuid4().hex
    assert read(told, PYTHON[name], tmp_path, group) == told.said
    assert not read(told, PYTHON[name], tmp_path, group)


def test_the_java_reader_is_tested_with_what_its_pom_names() -> None:
    pom = (JAVA / "pom.xml").read_text(encoding="utf-8")
    jars = {jar.name for jar in fetch_jars("reader")}
    named = pom.split("<dependencies>")[1].split("</dependencies>")[0].split("<dependency>")[1:]
    for dependency in named:
        artifact, version = (dependency.split(f"<{tag}>")[1].split("<")[0] for tag in ("artifactId", "version"))
        assert f"{artifact}-{version}.jar" in jars
    assert len(named) == 2


@pytest.mark.parametrize("key", [b"../x", b"", None, b"a/b", b"\xff"])
def test_a_key_that_is_no_name_of_a_file_is_passed_over(tmp_path: Path, key: bytes | None) -> None:
    assert Keeper(tmp_path).take("summary.ready", key, "1", {}) == "odd summary.ready -"
    assert not list(tmp_path.rglob("*"))
