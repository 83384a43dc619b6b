"""Replay-proof ids: the same thing always gets the same id, so that a repeat can be recognised. Pure."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import NewType

ShareId = NewType("ShareId", str)
WorkKey = NewType("WorkKey", str)
"""Names a piece of work: stage, content hash, model, parameters. Jobs of many shares may point to one."""
RequestId = NewType("RequestId", str)
"""Names one hold of money: a call of a piece of work, at one attempt."""

_NAMESPACE = uuid.UUID("6f0c1f2e-6c3a-5d0b-9a3e-2f4f6f1b7a10")


def new_share_id() -> ShareId:
    """A random id for a share nobody has seen before."""
    return ShareId(str(uuid.uuid4()))


def content_hash(content: bytes | str) -> str:
    """SHA-256 of the content as 64 lower-case hex digits; text is hashed as UTF-8."""
    raw = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()


def work_key(stage: str, content: str, model: str, parameters: Mapping[str, str | int | float | bool]) -> WorkKey:
    """Key of a piece of work; `content` is a content hash. Order of the parameters does not matter."""
    what = json.dumps([content, model, sorted(parameters.items())], separators=(",", ":"))
    return WorkKey(f"{stage}:{hashlib.sha256(what.encode()).hexdigest()[:40]}")


def request_id(work: WorkKey, call_no: int, attempt: int) -> RequestId:
    """Id of the hold for call `call_no` (from 0) of a piece of work, at `attempt` (from 1)."""
    return RequestId(str(uuid.uuid5(_NAMESPACE, f"request|{work}|{call_no}|{attempt}")))


def cap_request_id(account: str, scope: str, window: str, cap_micro_usd: int | None, mode: str) -> RequestId:
    """Id of a wish for a cap: as long as that cap is in force, wishing for it again changes nothing."""
    return RequestId(f"cap-{uuid.uuid5(_NAMESPACE, f'cap|{account}|{scope}|{window}|{cap_micro_usd}|{mode}')}")


def event_id(topic: str, share: str, work: str) -> str:
    """CloudEvents id of a stage's event about a share: emitting it again gives the same id."""
    return str(uuid.uuid5(_NAMESPACE, f"event|{topic}|{share}|{work}"))


def dead_letter_id(stage: str, began: str, key: bytes, value: bytes) -> str:
    """Id of a dead letter: one for each round of tries at a message, however often it is given up on.

    :param began: what began the round. The content is in the id, too, because places are used again when a topic is
        made anew.
    """
    digest = content_hash(len(key).to_bytes(8, "big") + key + value)
    return str(uuid.uuid5(_NAMESPACE, f"dead|{stage}|{began}|{digest}"))
