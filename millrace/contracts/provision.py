"""Makes a cluster and a registry hold what the catalogue says; and refuses to start when they do not."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from millrace.cluster import Cluster
from millrace.contracts import compat
from millrace.contracts.catalog import Catalog
from millrace.contracts.drift import ActualTopic, Alter, Change, Conflict, Create, changes
from millrace.contracts.registry import FULL_TRANSITIVE, Registry
from millrace.errors import ConfigurationError, MillraceError, Unavailable

Report = Callable[[str], None]
"""Told one line about each thing that was done."""

_TIMEOUT_S = 10.0
_POLL_S = 0.1
_CURE = "run `millrace topics apply`"
_NOT_TRUSTED = "certificate verify failed"


async def apply_topics(
    kafka: Cluster, catalog: Catalog, *, replication: int | None = None, report: Report
) -> list[Change]:
    """Create the topics that are missing and mend settings where that is safe; returns what was done.

    Idempotent. Nothing is ever deleted, shrunk or re-partitioned. `kafka` is host:port.

    :raises ConfigurationError: topics differ in what a person must decide; all else has been done by then.
    :raises Unavailable: Kafka does not answer within 10 s.
    """
    return await asyncio.to_thread(_apply, kafka, catalog, replication, report)


async def verify_topics(
    kafka: Cluster, catalog: Catalog, names: Iterable[str], *, timeout_s: float = _TIMEOUT_S
) -> None:
    """Check that the topics exist and are as the catalogue says, before a service starts.

    :raises ConfigurationError: with everything that is missing or wrong, and the cure.
    :raises Unavailable: Kafka does not answer in time.
    """
    specs = [catalog.topic(name) for name in dict.fromkeys(names)]
    actual = await asyncio.to_thread(describe_topics, kafka, [spec.name for spec in specs], timeout_s=timeout_s)
    found = changes(specs, actual)
    if found:
        unseen = "" if kafka.user is None else f"; what {kafka.user} has no right to is missing here, too"
        raise ConfigurationError(
            f"Kafka at {kafka} is not ready for this service ({'; '.join(map(str, found))}): {_CURE}{unseen}."
        )


def describe_topics(kafka: Cluster, names: Iterable[str], *, timeout_s: float = _TIMEOUT_S) -> dict[str, ActualTopic]:
    """Those of the topics that exist, with all their settings. Blocking.

    :raises Unavailable: Kafka does not answer in time.
    """
    with asking(kafka) as client:
        # All topics are asked for: asking for one by name would create it on a cluster with auto-creation.
        metadata = client.list_topics(timeout=timeout_s).topics
        present = [name for name in names if name in metadata]
        configs = _configs(client, present)
    return {
        name: ActualTopic(
            name,
            partitions=len(metadata[name].partitions),
            replication=min((len(p.replicas) for p in metadata[name].partitions.values()), default=0),
            config=configs[name],
        )
        for name in present
        if name in configs
    }


def register_schemas(registry_url: str, catalog: Catalog, report: Report) -> int:
    """Register every version of every subject and hold the subjects to FULL_TRANSITIVE; how many were new. Blocking.

    Idempotent.

    :raises ConfigurationError: the registry refuses a schema, for instance because it is not compatible.
    :raises Unavailable: the registry does not answer.
    """
    new = 0
    with Registry(registry_url) as registry:
        for subject, versions in catalog.subjects().items():
            for schema in versions:
                if registry.lookup(subject, schema.text) is None:
                    schema_id = registry.register(subject, schema.text)
                    report(f"registered {schema} under {subject} (id {schema_id})")
                    new += 1
            if registry.compatibility(subject) != FULL_TRANSITIVE:
                registry.require_compatibility(subject)
                report(f"{subject} is held to {FULL_TRANSITIVE}")
    return new


def check_schemas(catalog: Catalog, registry_url: str | None = None) -> list[str]:
    """What speaks against the schemas, one sentence each: offline, and to a registry when one is given. Blocking.

    :raises Unavailable: the registry does not answer.
    """
    found = list(compat.problems(catalog))
    if registry_url is None:
        return found
    with Registry(registry_url) as registry:
        for subject, versions in catalog.subjects().items():
            found.extend(
                f"The registry would refuse {schema} under {subject}: it is not compatible with what is there."
                for schema in versions
                if registry.lookup(subject, schema.text) is None and not registry.compatible(subject, schema.text)
            )
    return found


def _apply(kafka: Cluster, catalog: Catalog, replication: int | None, report: Report) -> list[Change]:
    wanted = _differences(kafka, catalog, replication)
    conflicts = [change for change in wanted if isinstance(change, Conflict)]
    done: list[Change] = [change for change in wanted if not isinstance(change, Conflict)]
    with asking(kafka) as client:
        _create(client, [change for change in done if isinstance(change, Create)], report)
        _alter(client, [change for change in done if isinstance(change, Alter)], report)
    if done:
        _await_visible(kafka, catalog, replication)
    if conflicts:
        raise ConfigurationError(f"Topics differ in what must be changed by hand: {'; '.join(map(str, conflicts))}.")
    return done


def _differences(kafka: Cluster, catalog: Catalog, replication: int | None) -> list[Change]:
    return changes(catalog.topics.values(), describe_topics(kafka, catalog.topics), replication)


def _await_visible(kafka: Cluster, catalog: Catalog, replication: int | None) -> None:
    """Wait for the brokers: the controller confirms first, and a service that verifies at once would refuse."""
    deadline = time.monotonic() + _TIMEOUT_S
    while any(not isinstance(change, Conflict) for change in _differences(kafka, catalog, replication)):
        if time.monotonic() > deadline:
            raise Unavailable(f"Kafka at {kafka} took the changes but does not show them yet; try again.")
        time.sleep(_POLL_S)


def _create(client: AdminClient, missing: list[Create], report: Report) -> None:
    if not missing:
        return
    new = [NewTopic(c.spec.name, c.spec.partitions, c.replication, config=dict(c.config)) for c in missing]
    for name, future in client.create_topics(new, request_timeout=_TIMEOUT_S).items():
        try:
            future.result(timeout=2 * _TIMEOUT_S)
        except KafkaException as exc:
            # Somebody else ran the same command at the same time.
            if _error(exc).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        report(f"created {name}")


def _alter(client: AdminClient, differing: list[Alter], report: Report) -> None:
    if not differing:
        return
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            change.name,
            incremental_configs=[
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
                for key, value in change.config.items()
            ],
        )
        for change in differing
    ]
    for future in client.incremental_alter_configs(resources, request_timeout=_TIMEOUT_S).values():
        future.result(timeout=2 * _TIMEOUT_S)
    for change in differing:
        report(f"changed {change.name}: {', '.join(f'{k}={v}' for k, v in change.config.items())}")


def _configs(client: AdminClient, names: list[str]) -> Mapping[str, dict[str, str]]:
    if not names:
        return {}
    asked = client.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    found: dict[str, dict[str, str]] = {}
    for resource, future in asked.items():
        try:
            entries = cast("dict[str, ConfigEntry]", future.result(timeout=2 * _TIMEOUT_S))
        except KafkaException as exc:
            # Just created or just deleted: brokers do not learn of it at the same moment.
            if _error(exc).code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            raise
        found[resource.name] = {entry.name: entry.value for entry in entries.values() if entry.value is not None}
    return found


@contextmanager
def asking(kafka: Cluster) -> Iterator[AdminClient]:
    """An admin client; what it raises is translated.

    :raises ConfigurationError: Kafka refuses what was asked, or who asked; or it is not who it should be.
    :raises Unavailable: it does not answer.
    """
    met: list[KafkaError] = []
    # Connection errors are told once, as an exception, rather than by librdkafka's lines on stderr.
    quiet: dict[str, Any] = {"log_level": 0, "socket.timeout.ms": int(_TIMEOUT_S * 1000), "error_cb": met.append}
    client = AdminClient({**kafka.librdkafka(), **quiet})
    try:
        yield client
    except TimeoutError as exc:
        raise _away(kafka, client, met, "") from exc
    except KafkaException as exc:
        error = _error(exc)
        # Negative codes are librdkafka's own: no connection, no answer in time.
        if error.retriable() or error.code() < 0:
            raise _away(kafka, client, met, f" ({error.str()})") from exc
        raise ConfigurationError(f"Kafka at {kafka} refuses: {error.str()}.") from exc


def _away(kafka: Cluster, client: AdminClient, met: list[KafkaError], why: str) -> MillraceError:
    """Why there was no answer: librdkafka tries again for ever, also where nothing but another setting can help."""
    client.poll(0)  # hands out what went wrong with connections
    if any(error.code() == KafkaError._AUTHENTICATION for error in met):  # noqa: SLF001 - so it is called
        return ConfigurationError(
            f"Kafka at {kafka} does not know the user {kafka.user} by this password ({kafka.mechanism}): set "
            "MILLRACE_KAFKA_USER and MILLRACE_KAFKA_PASSWORD, or let Kafka know it by `millrace access apply`."
        )
    if any(_NOT_TRUSTED in error.str() for error in met):
        return ConfigurationError(
            f"Kafka at {kafka} has a certificate that is not trusted here ({_why_not_trusted(kafka)}): name its "
            "authority in MILLRACE_KAFKA_CA, and the brokers in MILLRACE_KAFKA as their certificates do."
        )
    return Unavailable(f"Kafka at {kafka} does not answer{why}.")


def _why_not_trusted(kafka: Cluster) -> str:
    """What is wrong with a broker's certificate; librdkafka says the same of every fault."""
    for address in kafka.address.split(","):
        host, _, port = address.rpartition(":")
        try:
            with (
                socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as plain,
                kafka.tls_context.wrap_socket(plain, server_hostname=host),
            ):
                continue
        except ssl.SSLCertVerificationError as exc:
            return exc.verify_message.rstrip(".")
        except OSError:
            continue
    return "as librdkafka says"


def _error(exc: KafkaException) -> KafkaError:
    return cast("KafkaError", exc.args[0])
