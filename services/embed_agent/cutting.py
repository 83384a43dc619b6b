"""Which chunker cuts a text, and the table of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeGuard, get_args

from millrace.contracts.events import Segment
from millrace.errors import Poison
from services.embed_agent.domain import Chunk, Chunker, CountTokens, Source, SplitSentences
from services.embed_agent.fixed import fixed_chunks
from services.embed_agent.paragraphs import paragraph_chunks
from services.embed_agent.sentences import sentence_chunks
from services.embed_agent.sizes import within
from services.embed_agent.transcripts import transcript_chunks

CHUNKER_OPTION: Final = "chunker"
"""Option of a command: the chunker to use instead of the one that fits."""
AUTO: Final = "auto"
SHORT_TOKENS: Final = 100
"""A text of fewer tokens is one chunk."""

_MOST_CHARACTERS = 20  # of a token: longer texts need not be counted to be known as long
_SHORT_CHARACTERS = SHORT_TOKENS * _MOST_CHARACTERS
_PARAGRAPHS = re.compile(r"\n[^\S\n]*\n|^ {0,3}#{1,6}\s", re.MULTILINE)


@dataclass(frozen=True)
class Material:
    """What is cut: a text, its segments if it was said, and how the model counts.

    `longest`: most tokens that the model takes in one text.
    """

    text: str
    count: CountTokens
    split: SplitSentences
    longest: int
    segments: Sequence[Segment] = ()


def chosen(wanted: str, source: Source, text: str, count: CountTokens) -> Chunker:
    """The chunker that is wanted, or for `auto` the one that fits the text, as it is after cleaning.

    :raises Poison: there is no such chunker, or it needs times and the text has none.
    """
    if wanted == AUTO:
        return _fitting(source, text, count)
    if not _is_chunker(wanted):
        raise Poison(f"there is no chunker {wanted!r}: choose {AUTO} or one of {', '.join(get_args(Chunker))}")
    if wanted == "transcript" and source != "transcript":
        raise Poison("the chunker transcript cuts by times, and this text has none: choose another one")
    return wanted


def is_longer(text: str, tokens: int, count: CountTokens) -> bool:
    """Whether a text has more tokens; texts far from it are not counted."""
    if len(text.encode()) <= tokens:  # a token has a byte at least
        return False
    return len(text) > tokens * _MOST_CHARACTERS or count(text) > tokens


def _is_chunker(name: str) -> TypeGuard[Chunker]:
    return name in get_args(Chunker)


def _fitting(source: Source, text: str, count: CountTokens) -> Chunker:
    if source == "transcript":
        return "transcript"
    if len(text) < _SHORT_CHARACTERS and count(text) < SHORT_TOKENS:
        return "none"
    return "paragraph" if _PARAGRAPHS.search(text) else "sentence"


def cut(chunker: Chunker, material: Material) -> tuple[Chunker, list[Chunk]]:
    """The chunks, and the chunker that made them: a whole text that the model does not take is cut into windows."""
    if chunker == "none" and material.count(material.text) > material.longest:
        chunker = "fixed"
    return chunker, CHUNKERS[chunker](material)


def _none(material: Material) -> list[Chunk]:
    text = material.text.strip()
    return [Chunk(text, material.count(text))] if text else []


def _transcript(material: Material) -> list[Chunk]:
    count, longest = material.count, material.longest
    # A language without spaces can be a minute, or all that was said, in one word.
    return [
        replace(chunk, text=part, tokens=count(part))
        for chunk in transcript_chunks(material.segments, count)
        for part in within(chunk.text, count, longest)
    ]


def _paragraph(material: Material) -> list[Chunk]:
    return paragraph_chunks(material.text, material.count, material.split, material.longest)


def _sentence(material: Material) -> list[Chunk]:
    return sentence_chunks(material.text, material.count, material.split, material.longest)


def _fixed(material: Material) -> list[Chunk]:
    return fixed_chunks(material.text, material.count, material.longest)


CHUNKERS: Final[Mapping[Chunker, Callable[[Material], list[Chunk]]]] = {
    "none": _none,
    "transcript": _transcript,
    "paragraph": _paragraph,
    "sentence": _sentence,
    "fixed": _fixed,
}
