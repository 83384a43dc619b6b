"""Cuts articles and posts into chunks along their paragraphs and headers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from services.embed_agent.domain import Chunk, CountTokens, SplitSentences
from services.embed_agent.sizes import ANY, few
from services.embed_agent.words import cut_word

FEWEST_TOKENS = 400
MOST_TOKENS = 600

_HEADER = re.compile(r" {0,3}#{1,6}(\s|$)")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_BETWEEN = "\n\n"


@dataclass(frozen=True)
class _Piece:
    text: str
    tokens: int
    is_header: bool = False


@dataclass
class _Parts:
    parts: list[str] = field(default_factory=list)
    tokens: int = 0

    def add(self, *parts: str, tokens: int) -> None:
        self.parts += parts
        self.tokens += tokens

    @property
    def text(self) -> str:
        return _BETWEEN.join(self.parts)


@dataclass
class _Open:
    """A chunk that is being filled; the headers at its end belong to what follows."""

    body: _Parts = field(default_factory=_Parts)
    headers: _Parts = field(default_factory=_Parts)

    def add(self, piece: _Piece) -> None:
        if piece.is_header:
            self.headers.add(piece.text, tokens=piece.tokens)
            return
        self.body.add(*self.headers.parts, piece.text, tokens=self.headers.tokens + piece.tokens)
        self.headers = _Parts()

    @property
    def tokens(self) -> int:
        return self.body.tokens + self.headers.tokens

    @property
    def text(self) -> str:
        return _BETWEEN.join([*self.body.parts, *self.headers.parts])


def paragraph_chunks(text: str, count: CountTokens, split: SplitSentences, longest: int = ANY) -> list[Chunk]:
    """Chunks of 400 to 600 tokens, in order; no word is lost.

    A markdown header starts a chunk where the one before is large enough, and never ends one, unless headers alone
    are a tenth of a chunk. Paragraphs that are larger than a chunk are cut between sentences, and sentences that are,
    between words. A text that would make more than 30 chunks gets larger ones.

    :param longest: most tokens that the model takes; goes before the other limits.
    """

    def cut(most: int) -> list[str]:
        return list(_pack(text, count, split, most * FEWEST_TOKENS // MOST_TOKENS, most))

    return few(cut, text, count, usual=MOST_TOKENS, longest=longest)


def _pack(text: str, count: CountTokens, split: SplitSentences, fewest: int, most: int) -> Iterator[str]:
    most_of_headers = most // 10
    chunk = _Open()
    for block in _blocks(text):
        for piece in _pieces(block, count, split, most - most_of_headers):
            if chunk.body.parts:
                full = chunk.tokens + piece.tokens > most or (piece.is_header and chunk.tokens >= fewest)
            else:
                full = chunk.headers.tokens > most_of_headers
            if full and chunk.body.parts and chunk.headers.tokens <= most_of_headers:
                yield chunk.body.text
                chunk = _Open(headers=chunk.headers)
            elif full:
                yield chunk.text
                chunk = _Open()
            chunk.add(piece)
    if chunk.body.parts or chunk.headers.parts:
        yield chunk.text


def _blocks(text: str) -> Iterator[str]:
    """Headers and paragraphs; code between fences is one paragraph, whatever it looks like."""
    block: list[str] = []
    fenced = False
    for line in text.splitlines():
        if _FENCE.match(line):
            fenced = not fenced
        header = not fenced and _HEADER.match(line) is not None
        if block and (header or not (fenced or line.strip())):
            yield "\n".join(block)
            block = []
        if line.strip():
            block.append(line)
        if header:
            yield "\n".join(block)
            block = []
    if block:
        yield "\n".join(block)


def _pieces(block: str, count: CountTokens, split: SplitSentences, most: int) -> Iterator[_Piece]:
    """The block, or parts of it that are at most `most` tokens each."""
    # With the blank line behind it: between one-line paragraphs these lines are most of a chunk.
    whole = _Piece(block, count(block + _BETWEEN), is_header=_HEADER.match(block) is not None)
    if whole.tokens <= most:
        yield whole
        return
    room = most - count(_BETWEEN)
    for sentences in _joined(split(block), count, room):
        for words in (
            _joined(re.findall(r"\S+\s*", sentences), count, room) if count(sentences) > room else [sentences]
        ):
            yield from (_Piece(part, count(part + _BETWEEN)) for part in cut_word(words, count, room))


def _joined(parts: list[str], count: CountTokens, most: int) -> Iterator[str]:
    """Neighbours put together while they are at most `most` tokens."""
    joined, size = "", 0
    for part in parts:
        tokens = count(part.rstrip())
        if joined.strip() and size + tokens > most:
            yield joined.strip()
            joined, size = "", 0
        joined += part
        size += tokens
    if joined.strip():
        yield joined.strip()
