"""Which sentence of what was said a query means, and a link that plays it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from millrace.contracts.events import Segment
from millrace.transcripts.breaks import ends_sentence
from millrace.transcripts.tokens import Token, joined, tokens_of

_WORD: Final = re.compile(r"\w+")
_LONG_MS: Final = 15_000
"""What is said so long without the end of a sentence is cut where a segment begins."""
_YOUTUBE: Final = frozenset({"youtube.com", "m.youtube.com", "music.youtube.com", "youtu.be"})
_TWITCH: Final = frozenset({"twitch.tv", "m.twitch.tv"})


@dataclass(frozen=True)
class Sentence:
    """What was said from one moment to another, in milliseconds of the media."""

    text: str
    start_ms: int
    end_ms: int


def words_of(text: str) -> set[str]:
    """Words, as they are compared."""
    return {word.casefold() for word in _WORD.findall(text)}


def best_sentence(
    segments: Sequence[Segment], start_ms: int, end_ms: int, worth: Mapping[str, float]
) -> Sentence | None:
    """The sentence with most of what the query's words are worth, the first of equals; None where nothing is said.

    A passage that was found by meaning alone may have none of the words: then it is its first sentence. What the
    passage has only a part of is told whole, but for words outside of the segments.

    :param segments: those that touch the passage, which lasts from `start_ms` to `end_ms`.
    :param worth: of each word of the query.
    """
    best: Sentence | None = None
    most = -1.0
    for tokens in _sentences(tokens_of(segments)):
        inside = [token for token in tokens if start_ms <= token.start_ms < max(end_ms, start_ms + 1)]
        has = sum(worth.get(word, 0.0) for word in words_of(joined(inside)))
        if inside and has > most:
            best = Sentence(joined(tokens), tokens[0].start_ms, max(token.end_ms for token in tokens))
            most = has
    return best


def _sentences(tokens: Sequence[Token]) -> list[list[Token]]:
    found: list[list[Token]] = []
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else None
        if before is None or ends_sentence(before, token) or _is_long(found[-1], token):
            found.append([])
        found[-1].append(token)
    return found


def _is_long(sentence: Sequence[Token], token: Token) -> bool:
    return token.opens and token.start_ms - sentence[0].start_ms >= _LONG_MS


def link_at(url: str | None, start_ms: int) -> str | None:
    """A share's URL that begins to play at a moment; None where it is no page or file of the web.

    YouTube and Twitch have a parameter for it, others get a media fragment (W3C, Media Fragments URI 1.0), which
    browsers follow for files and players of some pages.
    """
    try:
        parts = urlsplit(url or "")
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:  # brackets around what is no address
        return None
    if parts.scheme not in ("http", "https") or not host:
        return None
    seconds = start_ms // 1000
    if host in _YOUTUBE or host in _TWITCH:
        moment = f"{seconds}s" if host in _YOUTUBE else f"{seconds // 3600}h{seconds // 60 % 60}m{seconds % 60}s"
        others = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "t"]
        return parts._replace(query=urlencode([*others, ("t", moment)])).geturl()
    return parts._replace(fragment=f"t={seconds}").geturl()
