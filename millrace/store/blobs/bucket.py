"""Makes a bucket fit for media, as often as one likes, and reads back what the server made of it.

Only the lifecycle is needed: without it temporary media and the parts of uploads that were killed stay for ever. What
a server does not implement is said.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from botocore.exceptions import ClientError

from millrace.store.blobs.keys import TEMP
from millrace.store.blobs.s3_errors import code_of, sentence, status_of, translated

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

Rule = Mapping[str, object]
State = Literal["set", "not implemented", "failed"]
LIFECYCLE: Final = "lifecycle"
_RULES: Final = "millrace-"
"""Ids of our rules begin so; rules of others stay."""
_STATEMENT: Final = "millrace-access-log"
_OWNED: Final = "BucketAlreadyOwnedByYou"
# A server that takes no notice of a part of the request takes it for another one: of a bucket, or its list.
_NOT_IMPLEMENTED: Final = frozenset({"NotImplemented", "MethodNotAllowed", "XNotImplemented", _OWNED, "501", "405"})


@dataclass(frozen=True)
class Finding:
    """What one of the settings is now."""

    name: str
    state: State
    detail: str


@dataclass(frozen=True)
class Wish:
    """What a bucket shall be like.

    :param temp_days: after which temporary media is deleted.
    :param log_bucket: where accesses are logged; None: nowhere.
    """

    bucket: str
    temp_days: int
    log_bucket: str | None = None


async def set_up(client: S3Client, wish: Wish) -> list[Finding]:
    """Make the bucket if it is missing, and set it up.

    :raises Unavailable: S3 does not answer, or refuses the bucket.
    """
    steps: list[tuple[str, Callable[[S3Client, Wish], Awaitable[str | None]]]] = [
        (LIFECYCLE, _lifecycle),
        ("encryption", _encryption),
        ("versioning", _versioning),
        ("public access", _public_access),
    ]
    if wish.log_bucket is not None:
        steps.append(("access log", _access_log))
    with translated():
        found = [Finding("bucket", "set", await _make(client, wish.bucket))]
        for name, step in steps:
            found.append(await _taken(name, step(client, wish)))
    return found


async def _taken(name: str, step: Awaitable[str | None]) -> Finding:
    try:
        detail = await step
    except ClientError as exc:
        if code_of(exc) in _NOT_IMPLEMENTED or status_of(exc) in (405, 501):
            return Finding(name, "not implemented", "this server does not implement it")
        if status_of(exc) >= 500:
            raise
        return Finding(name, "failed", sentence(exc))
    if detail is None:
        return Finding(name, "not implemented", "this server takes it and does not keep it")
    return Finding(name, "set", detail)


async def _make(client: S3Client, bucket: str) -> str:
    try:
        await client.head_bucket(Bucket=bucket)
    except ClientError as exc:
        if status_of(exc) != 404:
            raise
    else:
        return f"{bucket} is there"
    region = client.meta.region_name
    elsewhere = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        await client.create_bucket(Bucket=bucket, **elsewhere)  # type: ignore[arg-type]  # any region's name
    except ClientError as exc:
        if code_of(exc) != _OWNED:  # somebody has made it just now
            raise
    return f"{bucket} was made"


async def _lifecycle(client: S3Client, wish: Wish) -> str | None:
    wanted: list[Rule] = [
        {
            "ID": f"{_RULES}temp",
            "Status": "Enabled",
            "Filter": {"Prefix": f"{TEMP}/"},
            "Expiration": {"Days": wish.temp_days},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},  # where somebody has enabled versioning
        },
        {
            "ID": f"{_RULES}parts",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
    ]
    others = [rule for rule in await _rules(client, wish.bucket) if not str(rule.get("ID", "")).startswith(_RULES)]
    await client.put_bucket_lifecycle_configuration(
        Bucket=wish.bucket,
        LifecycleConfiguration={"Rules": [*others, *wanted]},  # type: ignore[list-item]  # as the service takes them
    )
    kept = {rule.get("ID"): rule for rule in await _rules(client, wish.bucket)}
    if not all(_is_held(rule, kept.get(rule["ID"], {})) for rule in wanted):
        return None
    of_others = f"; {len(others)} rules of others stay" if others else ""
    return f"{TEMP}/ expires after {wish.temp_days} d, unfinished uploads after 1 d{of_others}"


def _is_held(wanted: Rule, kept: Rule) -> bool:
    """Whether a rule was read back as it was sent. Some servers leave an empty prefix out."""
    same = all(kept.get(name) == value for name, value in wanted.items() if name != "Filter")
    return same and _prefix(kept) == _prefix(wanted)


def _prefix(rule: Rule) -> str:
    scope = rule.get("Filter")
    return str(scope.get("Prefix", "")) if isinstance(scope, dict) else str(rule.get("Prefix", ""))


async def _rules(client: S3Client, bucket: str) -> list[Rule]:
    try:
        found = await client.get_bucket_lifecycle_configuration(Bucket=bucket)
    except ClientError as exc:
        if code_of(exc) == "NoSuchLifecycleConfiguration":
            return []
        raise
    return [dict(rule) for rule in found.get("Rules", [])]


async def _encryption(client: S3Client, wish: Wish) -> str | None:
    await client.put_bucket_encryption(
        Bucket=wish.bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )
    found = await client.get_bucket_encryption(Bucket=wish.bucket)
    rules = found["ServerSideEncryptionConfiguration"].get("Rules", [])
    algorithms = {rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm") for rule in rules}
    return "AES256 by default" if "AES256" in algorithms else None


async def _versioning(client: S3Client, wish: Wish) -> str:
    found = await client.get_bucket_versioning(Bucket=wish.bucket)
    if found.get("Status") == "Enabled":
        return f"enabled by somebody; older versions under {TEMP}/ expire after 1 d more"
    return "not enabled, as it should be"


async def _public_access(client: S3Client, wish: Wish) -> str | None:
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    blocked = dict.fromkeys(names, True)
    await client.put_public_access_block(
        Bucket=wish.bucket,
        PublicAccessBlockConfiguration=blocked,  # type: ignore[arg-type]  # its four fields
    )
    found = await client.get_public_access_block(Bucket=wish.bucket)
    return "blocked" if dict(found["PublicAccessBlockConfiguration"]) == blocked else None


async def _access_log(client: S3Client, wish: Wish) -> str | None:
    target, prefix = wish.log_bucket or "", f"{wish.bucket}/"
    await _make(client, target)
    policy = await _let_log(client, target)
    enabled = {"TargetBucket": target, "TargetPrefix": prefix}
    await client.put_bucket_logging(
        Bucket=wish.bucket,
        BucketLoggingStatus={"LoggingEnabled": enabled},  # type: ignore[typeddict-item]  # its two needed fields
    )
    found = (await client.get_bucket_logging(Bucket=wish.bucket)).get("LoggingEnabled", {})
    if found.get("TargetBucket") != target or found.get("TargetPrefix") != prefix:
        return None
    return f"to {target} under {prefix}{policy}"


async def _let_log(client: S3Client, target: str) -> str:
    """Let the service that logs write to the bucket; a policy that is there already is its owner's matter."""
    try:
        kept = (await client.get_bucket_policy(Bucket=target))["Policy"]
    except ClientError as exc:
        if code_of(exc) != "NoSuchBucketPolicy":
            raise
    else:
        return "" if _STATEMENT in kept else "; its own policy has to let logging.s3.amazonaws.com write there"
    statement = {
        "Sid": _STATEMENT,
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{target}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    try:
        await client.put_bucket_policy(Bucket=target, Policy=policy)
    except ClientError as exc:
        if status_of(exc) >= 500:
            raise
        return f"; what lets the server write there was refused ({code_of(exc)})"
    return ""
