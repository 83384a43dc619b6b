"""A dead letter: a message's original bytes and headers, and in more headers the evidence of how it died. Pure.

Agents write them to `<stage>.dead`; whoever reads one finds its evidence again with `read`.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from millrace import ids
from millrace.contracts.events import StageName
from millrace.contracts.stages import stage_of_dead_topic

RESERVED = "millrace-"
"""Begins the names of headers that are ours: evidence, and what a command carries along."""
ROUND_HEADER = "millrace-round"
"""On a command: what began this round of tries. Without it the command begins one of its own."""
ORIGIN_HEADER = "millrace-origin"
"""On a command and a dead letter: where the original bytes lie."""

DEAD_GATE = "dead-letters"
"""Gate (table `gates`) in front of a stage of which too many jobs end as dead letters."""
UNKNOWN_ERROR = "Unknown"
"""Error of a message that lies on a dead-letter topic without evidence."""
REDRIVE = "redrive:"
"""Begins the name of a round that a redrive has begun; the letter's id follows, or one of all redriven at once.
"""

_LONGEST_REASON, _LONGEST_STACK, _LONGEST_OPTIONS = 1000, 4000, 4000
# Characters: evidence must never make a message too large.
_PLACE = re.compile(r"(?P<topic>[A-Za-z0-9._-]{1,249}?)(-(?P<partition>\d{1,9})@(?P<offset>\d{1,18}))?")
_OPTIONS = TypeAdapter(dict[str, str])


@dataclass(frozen=True)
class Place:
    """Where a message lies; a topic alone where nobody knows more."""

    topic: str
    partition: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        return self.topic if self.offset is None else f"{self.topic}-{self.partition}@{self.offset}"


def place(text: str) -> Place | None:
    """Read `topic-partition@offset`, or a topic alone; None for anything else.

    >>> place("share.created-3@17")
    Place(topic='share.created', partition=3, offset=17)
    """
    found = _PLACE.fullmatch(text)
    if found is None:
        return None
    if found["offset"] is None:
        return Place(found["topic"])
    return Place(found["topic"], int(found["partition"]), int(found["offset"]))


@dataclass(frozen=True)
class Death:
    """What is known when a message is given up on. `round` names what began this round of tries."""

    stage: StageName
    key: bytes
    value: bytes
    headers: Mapping[str, bytes]
    origin: Place
    round: str
    share_id: str
    error: str
    reason: str
    stack: str
    attempts: int
    work_key: str | None
    options: Mapping[str, str]
    service: str
    died_at: datetime

    @property
    def id(self) -> str:
        """The same when the same round is given up on again, after a crash for instance."""
        return ids.dead_letter_id(self.stage, self.round, self.key, self.value)


def headers_of(death: Death) -> list[tuple[str, bytes]]:
    """The original headers, then the evidence."""
    evidence = {
        "millrace-dead-letter": death.id,
        "millrace-error": death.error,
        "millrace-reason": death.reason[:_LONGEST_REASON],
        "millrace-attempts": str(death.attempts),
        ORIGIN_HEADER: str(death.origin),
        ROUND_HEADER: death.round,
        "millrace-share": death.share_id,
        "millrace-work": death.work_key or "",
        # Cut short it is no JSON any more, and `read` says that they are not known.
        "millrace-options": json.dumps(dict(death.options), ensure_ascii=False)[:_LONGEST_OPTIONS],
        "millrace-service": death.service,
        "millrace-died-at": death.died_at.isoformat(),
        "millrace-stack": death.stack[-_LONGEST_STACK:],
    }
    ours = [(name, text.encode("utf-8", "backslashreplace")) for name, text in evidence.items()]
    return [*_original(death.headers.items()), *ours]


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter as it was read: its place, the original message, and the evidence in characters that can be kept.

    `origin` is None, and `options` are None, where the evidence does not say them.
    """

    id: str
    at: Place
    stage: StageName
    key: bytes
    value: bytes
    headers: Mapping[str, bytes]
    origin: Place | None
    share_id: str | None
    error: str
    reason: str
    stack: str
    attempts: int
    work_key: str | None
    options: Mapping[str, str] | None
    service: str
    died_at: datetime


def read(
    at: Place, key: bytes, value: bytes, headers: Iterable[tuple[str, bytes | None]], written_at: datetime
) -> DeadLetter:
    """Read a message of a dead-letter topic; one without evidence is shown all the same.

    :param written_at: when Kafka has it from; counts where the evidence names no time.
    :raises KeyError: the topic is none of dead letters.
    """
    stage = stage_of_dead_topic(at.topic)
    given = {name: raw or b"" for name, raw in headers}
    evidence = {name: _text(raw) for name, raw in given.items() if name.startswith(RESERVED)}
    return DeadLetter(
        id=_id(evidence.get("millrace-dead-letter")) or ids.dead_letter_id(stage, str(at), key, value),
        at=at,
        stage=stage,
        key=key,
        value=value,
        headers=dict(_original(given.items())),
        origin=place(evidence.get(ORIGIN_HEADER, "@")),
        share_id=evidence.get("millrace-share") or None,
        error=evidence.get("millrace-error") or UNKNOWN_ERROR,
        reason=evidence.get("millrace-reason") or "no reason came with it",
        stack=evidence.get("millrace-stack", ""),
        attempts=_number(evidence.get("millrace-attempts", "")),
        work_key=evidence.get("millrace-work") or None,
        options=_options(evidence.get("millrace-options", "{}")),
        service=evidence.get("millrace-service", ""),
        died_at=_time(evidence.get("millrace-died-at", "")) or written_at,
    )


def _original(headers: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [(name, raw) for name, raw in headers if not name.startswith(RESERVED)]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").replace("\0", "\ufffd")


def _id(text: str | None) -> str | None:
    try:
        return str(uuid.UUID(text or ""))
    except ValueError:
        return None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return None if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter: the first and the last day of the calendar, elsewhere
        return None


def _options(text: str) -> Mapping[str, str] | None:
    try:
        return _OPTIONS.validate_json(text)
    except ValidationError:
        return None
