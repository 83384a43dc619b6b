"""Where the next page of a search begins, as a text for its `next`. Pure.

A cursor says how many hits were seen and how they were found; whose they are is never in it, so one that was
tampered with shows nothing but another page of the same search.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from millrace.contracts.search_api import SearchMode
from services.api_gateway.errors import Unreadable

_MODES: Final[Mapping[str, SearchMode]] = {"h": "hybrid", "s": "semantic", "k": "keyword"}
_CURSOR: Final = re.compile(r"([0-9]{1,4})\.([hsk])\.([0-9a-f]{16})")


@dataclass(frozen=True)
class Place:
    """`seen` hits, which were found by `mode`: pages of one search are cut from one ranking."""

    seen: int
    mode: SearchMode


def fingerprint(**asked: object) -> str:
    """What the order of the hits depends on, in 16 hexadecimal digits."""
    text = json.dumps(asked, sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def cursor_of(place: Place, search: str) -> str:
    """A place as a text.

    :param search: its fingerprint.
    """
    letter = next(letter for letter, mode in _MODES.items() if mode == place.mode)
    return f"{place.seen}.{letter}.{search}"


def place_of(cursor: str, search: str) -> Place:
    """The place that a cursor names.

    :raises Unreadable: it is none, or of a search that asks for something else.
    """
    found = _CURSOR.fullmatch(cursor)
    if found is None or found[3] != search:
        raise Unreadable("The cursor is none that this search has given: leave it out to begin anew.")
    return Place(int(found[1]), _MODES[found[2]])
