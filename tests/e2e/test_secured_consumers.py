"""The readers of examples/consumers on three brokers that ask for TLS and passwords, as a user who may only read."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import confluent_kafka
import pytest

from millrace.contracts.acls import SUBSCRIBER
from tests.e2e.apart import Apart, apart
from tests.support.readers import KCAT, PYTHON, Told, compiled_java, files, read, tell, without_values

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def parts() -> Iterator[Apart]:
    with apart({}, {}, brokers=True) as made:
        yield made


@pytest.fixture(scope="module")
def told(parts: Apart) -> Told:
    made = Told(parts.cluster, parts.addresses.registry)
    tell(made)
    return made


@pytest.fixture(scope="module")
def subscriber(parts: Apart) -> dict[str, str]:
    return parts.as_user(SUBSCRIBER)


def group() -> str:
    """One that a subscriber may have."""
    return f"{SUBSCRIBER}-{uuid.uuid4().hex}"


@pytest.mark.parametrize("name", PYTHON)
def test_a_subscriber_in_python_reads_results(
    told: Told, subscriber: dict[str, str], name: str, tmp_path: Path
) -> None:
    assert read(told, PYTHON[name], tmp_path, group(), subscriber) == told.said
    assert files(tmp_path) == told.kept


def test_a_subscriber_in_java_reads_results(told: Told, subscriber: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "classes").mkdir()
    java: Sequence[str | Path] = compiled_java(tmp_path / "classes")
    assert read(told, java, tmp_path / "kept", group(), subscriber) == told.said
    assert files(tmp_path / "kept") == told.kept


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed (Debian: apt-get install kcat)")
def test_a_subscriber_with_kcat_reads_results(told: Told, subscriber: dict[str, str], tmp_path: Path) -> None:
    # A librdkafka before 2.6.1, as Debian's, cannot show a password to Kafka 4; that of confluent-kafka can.
    (newer,) = (Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka-*")
    said = read(told, KCAT, tmp_path, "none", subscriber | {"LD_PRELOAD": str(newer)})
    assert (said, files(tmp_path)) == without_values(told)


def test_a_group_of_another_name_is_refused(told: Told, subscriber: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="GROUP_AUTHORIZATION_FAILED"):
        read(told, PYTHON["python_confluent"], tmp_path, "my-team", subscriber)
    assert files(tmp_path) == {}
