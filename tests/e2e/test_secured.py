"""Three brokers with TLS, passwords and rights: all of Millrace works there, and nobody gets further than he may."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from millrace.cli.client import Client
from millrace.cli.demo import DemoReport, demonstrate
from millrace.contracts.acls import SUBSCRIBER, VIEWER
from millrace.contracts.catalog import Catalog
from millrace.embedded.readyfile import Ready
from millrace.embedded.services import programs
from millrace.startup import EXIT_CONFIGURATION
from tests.e2e.apart import Apart, apart
from tests.support.kafka import consumer, read_all
from tests.support.process import Service
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def parts() -> Iterator[Apart]:
    with apart({"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": ""}, {}, brokers=True) as made:
        made.start()
        yield made


def shown(parts: Apart) -> DemoReport:
    return demonstrate(Ready(replace(parts.addresses, gateway=parts.gateway)), lambda _: None, as_json=True)


def test_the_whole_demo_passes_and_no_service_asks_for_more_than_it_may(parts: Apart) -> None:
    assert parts.brokers is not None
    before = parts.brokers.refusals()
    report = shown(parts)
    assert [view.state for view in report.shares] == ["done", "done"]
    assert report.search.hits[0].share_id == report.shares[0].share_id
    with Client(parts.gateway) as client:
        client.delete(report.shares[1].share_id)
    until(lambda: tombstones(parts) > 0, "the tombstones of a deleted share")
    until(lambda: parts.sql("SELECT FROM outbox") == [], "all of them")
    parts.millrace_json("replay", "embed")
    assert parts.millrace_json("budget", "audit")["ok"]
    assert parts.millrace_json("topics", "apply")["done"] == []
    again = parts.millrace_json("access", "apply")
    assert (again["given"], again["taken"]) == ([], [])
    assert parts.brokers.refusals() == before


def tombstones(parts: Apart) -> int:
    return sum(message.value() is None for message in read_all(parts.cluster, "share.created"))


def started_as(parts: Apart, service: str, user: str, **more: str) -> tuple[int, str]:
    """How a service ends that is started as that user, and what it says."""
    environment = {**parts.environment, **parts.as_user(user), **more}
    log = parts.folder / f"{service}-as-{user}.log"
    worker = Service(programs(Catalog.load())[service], environment, log)
    try:
        until(lambda: not worker.running, f"{service} as {user} to end", 60)
    finally:
        worker.end()
    return worker.process.returncode, log.read_text()


def test_a_service_with_anothers_user_is_refused(parts: Apart) -> None:
    status, said = started_as(parts, "summarize_agent", "media-agent")
    assert status == EXIT_CONFIGURATION
    assert "summary.ready: is missing" in said
    assert "what media-agent has no right to is missing here, too" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"MILLRACE_KAFKA_PASSWORD": "guessed"}, "does not know the user media-agent by this password"),
        ({"MILLRACE_KAFKA_USER": "cost-ledger"}, "does not know the user cost-ledger by this password"),
        ({"MILLRACE_KAFKA_CA": "", "MILLRACE_KAFKA_TLS": "true"}, "has a certificate that is not trusted here"),
        ({"MILLRACE_KAFKA_USER": ""}, "MILLRACE_KAFKA_USER and MILLRACE_KAFKA_PASSWORD go together"),
        ({"MILLRACE_KAFKA_CA": "/nowhere/ca.pem"}, "MILLRACE_KAFKA_CA (path does not point to a file)"),
    ],
)
def test_who_is_not_let_in_is_told_why_in_a_sentence(parts: Apart, more: dict[str, str], sentence: str) -> None:
    status, said = started_as(parts, "media_agent", "media-agent", **more)
    assert (status, sentence in said, "Traceback" in said) == (EXIT_CONFIGURATION, True, False), said
    assert parts.as_user("media-agent")["MILLRACE_KAFKA_PASSWORD"] not in said


def refused(parts: Apart, user: str, topic: str) -> bool:
    """Whether a user's message to a topic is."""
    assert parts.brokers is not None
    found: list[KafkaError] = []

    def told(error: KafkaError | None, _: object) -> None:
        if error is not None:
            found.append(error)

    producer = Producer({**parts.brokers.seen_by(user).librdkafka(), "log_level": 0})
    producer.produce(topic, b"{}", b"key", on_delivery=told)
    assert producer.flush(20) == 0
    assert all(error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED for error in found), found
    return bool(found)


def test_nobody_writes_what_is_anothers(parts: Apart) -> None:
    """No agent grants itself money, no other team invents results, no gateway writes the ledger's books."""
    assert refused(parts, "transcribe-agent", "cost.decisions")
    assert refused(parts, "api-gateway", "cost.rows")
    assert refused(parts, "media-agent", "summary.ready")
    assert refused(parts, SUBSCRIBER, "summary.ready")
    assert refused(parts, VIEWER, "share.created")
    assert refused(parts, "cost-ledger", "share.created")


def test_other_teams_read_results_and_no_commands(parts: Apart) -> None:
    assert parts.brokers is not None
    subscriber = parts.brokers.seen_by(SUBSCRIBER)
    assert read_all(subscriber, "transcript.ready")
    with consumer(subscriber, "subscriber-of-a-test") as member:
        topic = member.list_topics("summarize.requested", timeout=20).topics["summarize.requested"]
    assert topic.error is not None
    assert topic.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_rights_that_were_given_beyond_the_rules_are_taken_and_others_stay(parts: Apart) -> None:
    asked = ("access", "list", "--user", "media-agent")
    rules = parts.millrace_json(*asked)
    assert {rule["name"] for rule in rules} >= {"media.ready", "media.dead"}
    assert "summary.ready" not in {rule["name"] for rule in rules}
    grant(parts, "media-agent", "summary.ready")
    grant(parts, "a-guest", "summary.ready")
    assert not refused(parts, "media-agent", "summary.ready")
    taken = parts.millrace_json("access", "apply")["taken"]
    assert taken == ["media-agent may write the topic summary.ready"]
    until(lambda: refused(parts, "media-agent", "summary.ready"), "the right to be gone on all brokers")
    assert parts.millrace_json("access", "apply")["taken"] == []


def grant(parts: Apart, user: str, topic: str) -> None:
    """As an operator by hand, who forgets it."""
    binding = AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation.WRITE,
        AclPermissionType.ALLOW,
    )
    client = AdminClient(parts.cluster.librdkafka())  # what it answers ends with it
    (given,) = client.create_acls([binding]).values()
    given.result(20)


def test_the_files_of_a_trial_are_for_ones_own_eyes_and_never_written_over(parts: Apart, tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    made = [Path(name) for name in parts.millrace_json("access", "trial", str(folder), "--host", "kafka-1")]
    assert {path.name for path in made} >= {"ca.pem", "kafka-1.pem", "operator.password", "media-agent.password"}
    assert {oct(path.stat().st_mode & 0o777) for path in [folder, *made]} == {"0o700", "0o600"}
    assert b"PRIVATE KEY" not in (folder / "ca.pem").read_bytes()
    before = {path: path.read_bytes() for path in made}
    process = parts.millrace("access", "trial", str(folder), "--host", "kafka-1")
    assert "is not empty" in process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert {path: path.read_bytes() for path in made} == before
