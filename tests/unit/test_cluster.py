"""How a cluster is said to each client, and which settings do not go together."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import faust
import pytest

from millrace.cluster import Cluster
from millrace.errors import ConfigurationError
from millrace.settings import ClusterSettings
from millrace.startup import load_settings
from millrace.stream.faust_app import broker
from millrace.trial import CA_FILE, make_trial, passwords

BROKERS = "a:9092,b:9092"


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    folder = tmp_path / "trial"
    make_trial(folder, ["localhost"], ["somebody"], datetime.now(UTC))
    return folder


@pytest.fixture
def secured(trial: Path) -> Cluster:
    return Cluster(BROKERS, tls=True, ca=trial / CA_FILE, user="somebody", password="s3cret")


@pytest.mark.parametrize(
    ("tls", "user", "protocol"),
    [
        (False, None, "PLAINTEXT"),
        (True, None, "SSL"),
        (False, "somebody", "SASL_PLAINTEXT"),
        (True, "somebody", "SASL_SSL"),
    ],
)
def test_every_client_is_told_the_same_protocol(tls: bool, user: str | None, protocol: str) -> None:
    cluster = Cluster(BROKERS, tls=tls, user=user, password="s3cret")
    assert cluster.librdkafka().get("security.protocol", "PLAINTEXT") == protocol
    assert cluster.aiokafka()["security_protocol"] == protocol
    credentials = broker(cluster).get("broker_credentials")
    assert ("PLAINTEXT" if credentials is None else credentials.protocol.value) == protocol


def test_every_client_is_told_who_it_is_and_whom_to_trust(secured: Cluster) -> None:
    told = secured.librdkafka()
    assert (told["bootstrap.servers"], told["ssl.ca.location"]) == (BROKERS, str(secured.ca))
    assert (told["sasl.mechanism"], told["sasl.username"], told["sasl.password"]) == (
        "SCRAM-SHA-512",
        "somebody",
        "s3cret",
    )
    told = secured.aiokafka()
    assert (told["bootstrap_servers"], told["sasl_mechanism"]) == (BROKERS, "SCRAM-SHA-512")
    assert (told["sasl_plain_username"], told["sasl_plain_password"]) == ("somebody", "s3cret")
    told = broker(secured)
    assert told["broker"] == "aiokafka://a:9092;aiokafka://b:9092"
    credentials = told["broker_credentials"]
    assert isinstance(credentials, faust.SASLCredentials)
    assert (credentials.mechanism.value, credentials.username, credentials.password) == (
        "SCRAM-SHA-512",
        "somebody",
        "s3cret",
    )
    for context in (secured.aiokafka()["ssl_context"], credentials.ssl_context):
        assert isinstance(context, ssl.SSLContext)
        assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
        (authority,) = context.get_ca_certs()
        assert "Millrace trial" in str(authority["subject"])


def test_a_file_that_is_replaced_just_now_ends_no_client_that_connects_anew(secured: Cluster) -> None:
    before = secured.aiokafka()["ssl_context"]
    assert secured.ca is not None
    secured.ca.unlink()
    assert secured.aiokafka()["ssl_context"] is before


def test_a_password_is_in_no_text_of_it(secured: Cluster) -> None:
    assert str(secured) == BROKERS
    assert "s3cret" not in repr(secured)


def test_without_settings_of_its_own_a_cluster_is_plain() -> None:
    assert ClusterSettings(kafka="a:9092").cluster == Cluster("a:9092")
    assert Cluster("a:9092").librdkafka() == {"bootstrap.servers": "a:9092"}
    assert broker(Cluster("a:9092")) == {"broker": "aiokafka://a:9092"}


def test_a_file_of_authorities_is_tls(monkeypatch: pytest.MonkeyPatch, trial: Path) -> None:
    monkeypatch.setenv("MILLRACE_KAFKA_CA", str(trial / CA_FILE))
    cluster = load_settings(ClusterSettings, kafka="a:9092").cluster
    assert (cluster.protocol, cluster.ca) == ("SSL", trial / CA_FILE)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"USER": "somebody"}, "MILLRACE_KAFKA_USER and MILLRACE_KAFKA_PASSWORD go together"),
        ({"PASSWORD": "s3cret"}, "MILLRACE_KAFKA_USER and MILLRACE_KAFKA_PASSWORD go together"),
        (
            {"USER": "somebody", "PASSWORD": "s3cret", "MECHANISM": "PLAIN"},
            "MILLRACE_KAFKA_MECHANISM is PLAIN, which sends the password: set MILLRACE_KAFKA_TLS",
        ),
        ({"MECHANISM": "GSSAPI"}, "MILLRACE_KAFKA_MECHANISM"),
        ({"CA": "/nowhere"}, r"MILLRACE_KAFKA_CA cannot be read: /nowhere \(No such file or directory\)"),
        ({"CA": "/etc/hostname"}, "MILLRACE_KAFKA_CA holds no certificate of an authority: /etc/hostname"),
    ],
)
def test_settings_that_do_not_go_together_are_a_sentence_without_the_password(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], sentence: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"MILLRACE_KAFKA_{name}", value)
    with pytest.raises(ConfigurationError, match=sentence) as told:
        load_settings(ClusterSettings, kafka="a:9092")
    assert "s3cret" not in str(told.value)


def test_a_password_that_is_sent_goes_by_tls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"USER": "somebody", "PASSWORD": "s3cret", "MECHANISM": "PLAIN", "TLS": "true"}.items():
        monkeypatch.setenv(f"MILLRACE_KAFKA_{name}", value)
    assert load_settings(ClusterSettings, kafka="a:9092").cluster.protocol == "SASL_SSL"


def test_a_trials_passwords_are_read_for_those_who_have_one(trial: Path, tmp_path: Path) -> None:
    found = passwords(trial, ["somebody", "nobody"])
    assert found.keys() == {"somebody"}
    assert len(found["somebody"]) >= 32
    with pytest.raises(ConfigurationError, match="has no password of anybody"):
        passwords(tmp_path, ["somebody"])
    for content, sentence in ((b"\n", "is empty"), (b"\xff\xfe", "no text in UTF-8")):
        (trial / "somebody.password").write_bytes(content)
        with pytest.raises(ConfigurationError, match=sentence):
            passwords(trial, ["somebody"])


def test_no_two_trials_have_a_password_in_common(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        make_trial(folder, ["localhost"], ["somebody", "another"], datetime.now(UTC))
    every = [word for folder in folders for word in passwords(folder, ["somebody", "another"]).values()]
    assert len(set(every)) == 4
