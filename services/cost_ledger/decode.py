"""Decodes what the ledger has written itself: while the registry is away nobody knows what it says, so it waits."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from millrace.contracts.events import Event
from millrace.contracts.wire import Codec
from millrace.errors import Unavailable

log = logging.getLogger(__name__)

_AWAY_S: Final = 1.0


async def decode_patiently(codec: Codec, topic: str, raw: bytes) -> Event:
    """The event of a message of a topic of the catalogue.

    :raises Poison: the bytes can never be decoded.
    """
    while True:
        try:
            return await codec.decode(topic, raw)
        except Unavailable as exc:
            log.warning("messages of %s wait: %s", topic, exc)
        await asyncio.sleep(_AWAY_S)
