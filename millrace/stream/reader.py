"""Reads what the core reads: events and commands, as typed records."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from millrace.contracts.dead import ORIGIN_HEADER, Place, place
from millrace.contracts.events import Event, ShareEvent, StageRequested
from millrace.contracts.wire import Codec
from millrace.errors import Poison
from millrace.kafka.records import Message
from millrace.store.turns import Turn
from millrace.stream.incoming import FRESH, Incoming, Original, place_of, round_of
from millrace.stream.stage import GENERATION_OPTION
from millrace.stream.turns import turn_of, turn_of_headers

LONGEST_ID: Final = 300
"""Characters of a share id or an account: what the ledger takes, and far less than an index of PostgreSQL does."""


class Reader:
    """Decodes records; a command on `<stage>.requested` is unwrapped to the event it carries.

    :param inputs: the stage's event topics, the only ones that a command may carry a message of.
    """

    def __init__(self, codec: Codec, inputs: Collection[str]) -> None:
        self._codec = codec
        self._inputs = inputs

    async def read(self, message: Message) -> Incoming:
        """Decode a record.

        :raises Poison: its bytes can never be decoded, or say what cannot be written down.
        :raises Unavailable: the registry does not answer.
        """
        event = await self._codec.decode(message.at.topic, message.value)
        if not isinstance(event, StageRequested):
            original = Original(place_of(message), message.key, message.value, message.headers)
            return Incoming(message, _storable(event), original, turn=turn_of(event, message.headers))
        if event.origin_topic not in self._inputs:
            raise Poison(f"a command that carries a message of {event.origin_topic[:100]!r}, which is not read here")
        at = place(message.headers.get(ORIGIN_HEADER, b"").decode("utf-8", "replace"))
        original = Original(
            at if at is not None and at.topic == event.origin_topic else Place(event.origin_topic),
            event.origin_key or message.key,
            event.origin_value,
            event.origin_headers,
        )
        carried = await self._codec.decode(event.origin_topic, event.origin_value)
        turn = Turn(event.requested_at) if event.reason in FRESH else turn_of_headers(message.headers)
        options = event.options
        if event.force and GENERATION_OPTION not in options:
            # By what began its round: delivered again, or handed over, it means the same work.
            options = {**options, GENERATION_OPTION: round_of(message)}
        # What was handed over is the event itself, on another way.
        reason = None if event.reason == "local" else event.reason
        return Incoming(message, _storable(carried), original, options, reason, event.requested_at, turn)


def _storable(event: Event) -> Event:
    """The event, whose ids name rows of PostgreSQL and holds of the ledger.

    :raises Poison: an id that one of the two would refuse.
    """
    if isinstance(event, ShareEvent) and not all(map(_is_id, (event.share_id, event.account))):
        raise Poison(f"share ids and accounts are 1 to {LONGEST_ID} printable characters without |")
    return event


def _is_id(text: str) -> bool:
    return 0 < len(text) <= LONGEST_ID and text.isprintable() and "|" not in text
