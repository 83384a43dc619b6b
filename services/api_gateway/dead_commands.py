"""What a redrive asks of a stage: the command that carries a dead letter's original bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from millrace.contracts.dead import ORIGIN_HEADER, REDRIVE, ROUND_HEADER, Place
from millrace.contracts.events import Event, ShareEvent, StageName, StageRequested
from millrace.contracts.headers import TRACE_HEADER, parse_traceparent
from millrace.errors import ConfigurationError, Poison
from millrace.text import has_nul
from millrace.tracing.spans import BEFORE_HEADER, trace_of
from services.api_gateway.errors import NotNow
from services.api_gateway.ports import Encoder, OutboxMessage

REQUESTED_BY = "api_gateway"
CANNOT_BE_READ = "Its bytes still cannot be read: {why} Mend that and redrive it again, or discard it."


class Codec(Encoder, Protocol):
    """Reads and writes messages."""

    async def decode(self, topic: str, raw: bytes) -> Event:
        """The event of a message.

        :raises Poison: it can never be read; also `ConfigurationError`, when the topic carries none.
        :raises Unavailable: nobody knows at present.
        """
        ...


@dataclass(frozen=True)
class Letter:
    """What is needed of a dead letter to redrive it."""

    id: str
    stage: StageName
    origin: Place | None
    key: bytes
    value: bytes
    headers: Mapping[str, bytes]
    options: Mapping[str, str] | None


@dataclass(frozen=True)
class Command:
    """The message that redrives a dead letter, and the share that it is about."""

    share_id: str
    message: OutboxMessage


async def command(letter: Letter, codec: Codec, now: datetime, together: str | None = None) -> Command:
    """The command to the letter's stage.

    A letter that died unread is redriven once its bytes can be read: an event as itself, and a command as the command
    that it was. Nothing else is sent on, because it would only come back.

    :param together: names the letters that are redriven at once: work that several of them need has one budget.
    :raises NotNow: it cannot be redriven as it is; says why.
    :raises Unavailable: the registry does not answer.
    """
    if letter.origin is None:
        raise NotNow("Nothing says which topic it came from, so it cannot be redriven; discard it.")
    if letter.options is None:
        raise NotNow("The options that it was asked for with are not known, so it cannot be redriven; ask anew.")
    event = await decode(letter.origin.topic, letter.value, codec)
    if isinstance(event, StageRequested):
        await decode(event.origin_topic, event.origin_value, codec)
    request = _request(letter, letter.origin, letter.options, event, now)
    topic = f"{letter.stage}.requested"
    try:
        value = codec.encode(topic, request)
    except Poison as exc:
        raise NotNow(f"The command that would redrive it cannot be written: {exc}") from exc
    about = {
        ROUND_HEADER: f"{REDRIVE}{together or letter.id}",
        ORIGIN_HEADER: str(letter.origin),
        TRACE_HEADER: str(trace_of(None)),
    }
    if (before := parse_traceparent(letter.headers.get(TRACE_HEADER))) is not None:
        about[BEFORE_HEADER] = str(before)
    return Command(request.share_id, OutboxMessage(topic, request.share_id.encode(), value, about))


async def decode(topic: str, value: bytes, codec: Codec) -> ShareEvent:
    """The event that a dead letter is about, as far as it can be read now.

    :raises NotNow: it cannot.
    """
    try:
        event = await codec.decode(topic, value)
    except (Poison, ConfigurationError) as exc:
        raise NotNow(CANNOT_BE_READ.format(why=exc)) from exc
    if not isinstance(event, ShareEvent) or has_nul(event.share_id):
        raise NotNow(CANNOT_BE_READ.format(why="they are about no share."))
    return event


def _request(
    letter: Letter, origin: Place, options: Mapping[str, str], event: ShareEvent, now: datetime
) -> StageRequested:
    if isinstance(event, StageRequested):
        return event.model_copy(update={"reason": "redrive", "requested_by": REQUESTED_BY, "requested_at": now})
    return StageRequested(
        share_id=event.share_id,
        account=event.account,
        stage=letter.stage,
        reason="redrive",
        origin_topic=origin.topic,
        origin_key=letter.key,
        origin_value=letter.value,
        origin_headers=dict(letter.headers),
        options=dict(options),
        requested_by=REQUESTED_BY,
        requested_at=now,
    )
