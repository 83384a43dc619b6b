"""Makes a cluster know Millrace's users and what they may do (`acls.py` says it)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, cast

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from millrace.cluster import Cluster
from millrace.contracts.acls import Grant, Operation, Resource
from millrace.contracts.provision import Report, asking
from millrace.errors import Unavailable

_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.1
_ITERATIONS: Final = 4096
"""Of SCRAM, Kafka's own number; the passwords here are random, so more would only slow every connection down."""
_RESOURCES: Final[Mapping[Resource, ResourceType]] = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS: Final[Mapping[Operation, AclOperation]] = {
    "read": AclOperation.READ,
    "write": AclOperation.WRITE,
    "describe": AclOperation.DESCRIBE,
    "describe-configs": AclOperation.DESCRIBE_CONFIGS,
}
_FROM_ANYWHERE: Final = "*"
_USER: Final = "User:"
_EVERYBODY: Final = "User:*"
_ANY: Final = cast(str, None)
"""Matches every name; the client's types do not say so."""


@dataclass(frozen=True)
class Applied:
    """What was done: users whose passwords were set, rights that were given, and such that were taken.

    `beyond`: rights of these users that are in no rule and were left. `everybody`: rights of everybody, which no rule
    about a user can take. What is denied by hand is left, and told by nobody.
    """

    users: tuple[str, ...]
    given: tuple[str, ...]
    taken: tuple[str, ...]
    beyond: tuple[str, ...]
    everybody: tuple[str, ...]


async def apply_access(
    kafka: Cluster,
    users: Iterable[str],
    wanted: Iterable[Grant],
    passwords: Mapping[str, str],
    report: Report,
    *,
    take: bool = False,
) -> Applied:
    """Set passwords (SCRAM-SHA-512) and give what is wanted. Idempotent.

    Rights are given before others are taken: nobody who works loses one that stays. Other users are left alone.

    :param users: those whose rights these are to be.
    :param passwords: by user; of users who are not in it the password stays.
    :param take: take what these users may do beyond that, too.
    :raises ConfigurationError: Kafka refuses, for instance because it checks no rights.
    :raises Unavailable: Kafka does not answer.
    """
    return await asyncio.to_thread(_apply, kafka, frozenset(users), list(wanted), passwords, report, take=take)


def _apply(
    kafka: Cluster,
    users: AbstractSet[str],
    wanted: list[Grant],
    passwords: Mapping[str, str],
    report: Report,
    *,
    take: bool,
) -> Applied:
    with asking(kafka) as client:
        _set_passwords(client, passwords, report)
        allowed = [one for one in _known(client) if one.permission_type == AclPermissionType.ALLOW]
        everybody = tuple(_said(one) for one in allowed if one.principal == _EVERYBODY)
        bindings = {_binding(grant): grant for grant in wanted}
        there = {one for one in allowed if one.principal.removeprefix(_USER) in users}
        missing = [one for one in bindings if one not in there]
        surplus = sorted((one for one in there if one not in bindings), key=_said)
        if missing:
            for one, done in client.create_acls(missing, request_timeout=_TIMEOUT_S).items():
                done.result(timeout=2 * _TIMEOUT_S)
                report(str(bindings[one]))
        if surplus and take:
            filters = [_filter(one) for one in surplus]
            for gone in client.delete_acls(filters, request_timeout=_TIMEOUT_S).values():
                gone.result(timeout=2 * _TIMEOUT_S)
        for one in surplus:
            report(f"no longer: {_said(one)}" if take else f"in no rule, and left: {_said(one)} (--take takes it)")
        for rule in everybody:
            report(f"{rule}: rules about users change nothing about that")
        _await_visible(client, set(bindings), set(surplus) if take else set())
    beyond = tuple(_said(one) for one in surplus)
    return Applied(
        tuple(passwords),
        tuple(str(bindings[one]) for one in missing),
        beyond if take else (),
        () if take else beyond,
        everybody,
    )


def _set_passwords(client: AdminClient, passwords: Mapping[str, str], report: Report) -> None:
    if not passwords:
        return
    changes = [_credential(user, password) for user, password in passwords.items()]
    for user, future in client.alter_user_scram_credentials(changes, request_timeout=_TIMEOUT_S).items():
        future.result(timeout=2 * _TIMEOUT_S)
        report(f"the password of {user} is set")


def _await_visible(client: AdminClient, given: set[AclBinding], taken: set[AclBinding]) -> None:
    """Wait for the brokers: the controller confirms first, and a service that starts at once would be refused."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        known = set(_known(client))
        if given <= known and not taken & known:
            return
        if time.monotonic() > deadline:
            raise Unavailable("Kafka took the rights but does not show them yet; try again.")
        time.sleep(_POLL_S)


def _known(client: AdminClient) -> list[AclBinding]:
    everything = AclBindingFilter(
        ResourceType.ANY,
        _ANY,
        ResourcePatternType.ANY,
        _ANY,
        _ANY,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    found = client.describe_acls(everything, request_timeout=_TIMEOUT_S).result(2 * _TIMEOUT_S)
    return cast("list[AclBinding]", found)


def _credential(user: str, password: str) -> UserScramCredentialAlteration:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
    return UserScramCredentialUpsertion(user, info, password.encode())


def _binding(grant: Grant) -> AclBinding:
    return AclBinding(
        _RESOURCES[grant.resource],
        grant.name,
        ResourcePatternType.PREFIXED if grant.prefixed else ResourcePatternType.LITERAL,
        f"{_USER}{grant.user}",
        _FROM_ANYWHERE,
        _OPERATIONS[grant.operation],
        AclPermissionType.ALLOW,
    )


def _filter(binding: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        binding.restype,
        binding.name,
        binding.resource_pattern_type,
        binding.principal,
        binding.host,
        binding.operation,
        binding.permission_type,
    )


def _said(one: AclBinding) -> str:
    kind, operation = cast(ResourceType, one.restype), cast(AclOperation, one.operation)
    words = f"{operation.name} the {kind.name}".lower().replace("_", "-")
    name = f"{one.name}…" if one.resource_pattern_type == ResourcePatternType.PREFIXED else one.name
    who = "everybody" if one.principal == _EVERYBODY else one.principal.removeprefix(_USER)
    return f"{who} may {words} {name}" + ("" if one.host == _FROM_ANYWHERE else f" from {one.host}")
