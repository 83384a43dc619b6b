"""Three brokers with TLS, passwords and rights: all of Millrace works there, and nobody gets further than he may."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError
from confluent_kafka import KafkaError, KafkaException, Producer
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
from millrace.contracts.share_api import ShareRequest
from millrace.embedded.readyfile import Ready
from millrace.embedded.services import programs
from millrace.errors import Unavailable
from millrace.kafka.producer import Producer as Kafka
from millrace.kafka.producer import open_producer
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
        assert made.brokers is not None
        assert made.brokers.refusals() == [], "no service asks for what it may not, at its start either"
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
        (
            {"MILLRACE_KAFKA_CA": "", "MILLRACE_KAFKA_TLS": "true"},
            "has a certificate that is not trusted here (self-signed certificate in certificate chain)",
        ),
        (
            {"MILLRACE_KAFKA": "localhost:1"},
            "is not trusted here (Hostname mismatch, certificate is not valid for 'localhost')",
        ),
        ({"MILLRACE_KAFKA_USER": ""}, "MILLRACE_KAFKA_USER and MILLRACE_KAFKA_PASSWORD go together"),
        (
            {"MILLRACE_KAFKA_CA": "/nowhere/ca.pem"},
            "MILLRACE_KAFKA_CA cannot be read: /nowhere/ca.pem (No such file or directory)",
        ),
        ({"MILLRACE_KAFKA_CA": "/etc/hostname"}, "MILLRACE_KAFKA_CA holds no certificate of an authority"),
    ],
)
def test_who_is_not_let_in_is_told_why_in_a_sentence(parts: Apart, more: dict[str, str], sentence: str) -> None:
    if "MILLRACE_KAFKA" in more:
        # By a name that is not in the certificate, whose only one is the address.
        more = {"MILLRACE_KAFKA": parts.addresses.kafka.split(",")[0].replace("127.0.0.1", "localhost")}
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
    assert parts.brokers is not None
    before = len(parts.brokers.refusals())
    assert refused(parts, "transcribe-agent", "cost.decisions")
    assert refused(parts, "api-gateway", "cost.rows")
    assert refused(parts, "media-agent", "summary.ready")
    assert refused(parts, SUBSCRIBER, "summary.ready")
    assert refused(parts, VIEWER, "share.created")
    assert refused(parts, "cost-ledger", "share.created")
    assert len(parts.brokers.refusals()) > before, "what is refused stands in the brokers' logs"


async def test_nobody_takes_part_in_anothers_group_or_transactions(parts: Apart) -> None:
    assert parts.brokers is not None
    agent = parts.brokers.seen_by("embed-agent")
    admin = AIOKafkaAdminClient(**agent.aiokafka())
    await admin.start()
    try:
        await admin.list_consumer_group_offsets("millrace-embed-agent")
        with pytest.raises(GroupAuthorizationFailedError):
            await admin.list_consumer_group_offsets("millrace-summarize-agent")
    finally:
        await admin.close()
    forger = Producer({**agent.librdkafka(), "transactional.id": "millrace-cost-ledger-0-0", "log_level": 0})
    with pytest.raises(KafkaException) as told:
        forger.init_transactions(20)
    assert told.value.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


async def test_no_client_gives_its_password_to_a_host_of_another_name(parts: Apart) -> None:
    """The sentence is librdkafka's (above); what aiokafka does, Faust does."""
    assert parts.brokers is not None
    seen = parts.brokers.seen_by("media-agent")
    elsewhere = replace(seen, address=seen.address.replace("127.0.0.1", "localhost"))
    with pytest.raises(Unavailable):
        await Kafka(elsewhere).start()
    async with open_producer(seen):
        pass


def test_other_teams_read_results_and_no_commands(parts: Apart) -> None:
    assert parts.brokers is not None
    subscriber = parts.brokers.seen_by(SUBSCRIBER)
    with Client(parts.gateway) as client:
        share = client.add(ShareRequest(text="The mill turns.")).share_id
    until(
        lambda: share in {str((m.key() or b"").decode()) for m in read_all(subscriber, "share.created")}, "the share"
    )
    with consumer(subscriber, "subscriber-of-a-test") as member:
        topic = member.list_topics("summarize.requested", timeout=20).topics["summarize.requested"]
    assert topic.error is not None
    assert topic.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_rights_beyond_the_rules_are_named_and_taken_if_wanted_and_others_stay(parts: Apart) -> None:
    asked = ("access", "list", "--user", "media-agent")
    rules = parts.millrace_json(*asked)
    assert {rule["name"] for rule in rules} >= {"media.ready", "media.dead"}
    assert "summary.ready" not in {rule["name"] for rule in rules}
    by_hand(parts, "media-agent", "summary.ready", AclPermissionType.ALLOW)
    by_hand(parts, "a-guest", "summary.ready", AclPermissionType.ALLOW)
    by_hand(parts, "media-agent", "embedding.ready", AclPermissionType.DENY)
    by_hand(parts, "*", "links.ready", AclPermissionType.ALLOW)
    assert not refused(parts, "media-agent", "summary.ready")
    named = parts.millrace_json("access", "apply")
    beyond, everybody = (
        ["media-agent may write the topic summary.ready"],
        ["everybody may write the topic links.ready"],
    )
    assert (named["taken"], named["beyond"], named["everybody"]) == ([], beyond, everybody)
    assert not refused(parts, "media-agent", "summary.ready")
    done = parts.millrace_json("access", "apply", "--take")
    assert (done["taken"], done["beyond"], done["everybody"]) == (beyond, [], everybody)
    until(lambda: refused(parts, "media-agent", "summary.ready"), "the right to be gone on all brokers")
    left = parts.millrace_json("access", "apply", "--take")
    assert (left["given"], left["taken"]) == ([], []), "what was denied by hand is left"


def by_hand(parts: Apart, user: str, topic: str, permission: AclPermissionType) -> None:
    """As an operator who forgets it."""
    binding = AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation.WRITE,
        permission,
    )
    client = AdminClient(parts.cluster.librdkafka())  # what it answers ends with it
    (given,) = client.create_acls([binding]).values()
    given.result(20)


def test_the_files_of_a_trial_are_for_ones_own_eyes_and_never_written_over(parts: Apart, tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    made = [Path(name) for name in parts.millrace_json("access", "trial", str(folder), "--host", "kafka-1")]
    assert {path.name for path in made} >= {"ca.pem", "kafka-1.pem", "operator.password", "media-agent.password"}
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in [folder, *made]}
    assert {name: mode for name, mode in modes.items() if mode != "0o600"} == {"trial": "0o711", "ca.pem": "0o644"}
    assert b"PRIVATE KEY" not in (folder / "ca.pem").read_bytes()
    before = {path: path.read_bytes() for path in made}
    process = parts.millrace("access", "trial", str(folder), "--host", "kafka-1")
    assert "is not empty" in process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert {path: path.read_bytes() for path in made} == before
