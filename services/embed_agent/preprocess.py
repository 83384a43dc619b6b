"""Texts as they are embedded: cleaned by their kind, and why some are not embedded at all. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, Literal

from millrace.text import count_words, looks_binary
from services.embed_agent.domain import Source
from services.embed_agent.links import URL, shortened
from services.embed_agent.markup import without_html, without_links

Kind = Literal["post", "article", "transcript"]
LEAST_CHARACTERS: Final = 10

_POSTS = frozenset({"caption", "comment", "post", "tweet"})
_MOST_ROUNDS = 8
_LEAST_LINKS = 3
_LEAST_REPEATS = 10
_MOSTLY = 0.8
_BOILERPLATE = 4
"""A line that a text has so often is said once."""

_FORMATTING = (*range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFFF9, 0xFFFC))
_INVISIBLE = dict.fromkeys(
    (*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x34F, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, 0xFEFF, *_FORMATTING)
) | {9: "\t", 10: "\n", 11: "\n", 12: "\n", 13: "\n", 0x85: "\n", 0x2028: "\n", 0x2029: "\n\n"}
# Emoji are joined by ZWJ, words of Persian and of Indian languages are written with ZWNJ and ZWJ. Between letters of
# Latin, and at the ends of words, neither has a meaning.
_JOINERS = re.compile(r"(?<=[\u200c\u200d])[\u200c\u200d]+")
_STRAY_JOINER = re.compile(r"(?<![^\x00-\u024f\s])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\u024f\s])")
_BLANKS = re.compile(r"[^\S\n]+")
_INDENT = "    "
_INDENTED = re.compile(r" {0,3}\t| {4}")
_REPEATED_SIGN = re.compile(r"([^\w\s#])\1{3,}")
_REPEATED_LETTER = re.compile(r"([^\W\d_])\1{3,}")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_HEADER = re.compile(r" {0,3}#{1,6}(\s|$)")
_MENTION = re.compile(r"(?<![\w.@/])@+(?=\w)")
_HASHTAG = re.compile(r"(?<![\w&/#])#+([^\W\d_]\w*)")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Prepared:
    """A cleaned text, and why it is not embedded, or None."""

    text: str
    reason: str | None


def kind_of(source: Source, content_type: str) -> Kind:
    """How a text is cleaned: posts are short and have tags and mentions, articles may be markdown."""
    if source == "transcript":
        return "transcript"
    return "post" if content_type in _POSTS else "article"


# A plan, its estimate and its work ask about the same text, which may take half a second.
@lru_cache(maxsize=4)
def prepared(text: str, kind: Kind) -> Prepared:
    """The text as it is embedded, and the reason why it is not, if there is one.

    `binary`, `too-short`, `no-words`, `mostly-links`, `repetitive`; transcripts are never the last two, and too short
    only when they are blank: short and repeated speech is still worth finding.
    """
    if looks_binary(text):
        return Prepared("", "binary")
    clean = cleaned(text, kind)
    return Prepared(clean, _skip_reason(text, clean, kind))


def _skip_reason(text: str, clean: str, kind: Kind) -> str | None:
    if not clean or (kind != "transcript" and len(clean) < LEAST_CHARACTERS):
        return "too-short"
    if count_words(clean) == 0:
        return "no-words"
    if kind == "transcript":
        return None
    links = len(URL.findall(text))
    beside = count_words(URL.sub(" ", text)) if links else 0
    if links and (beside == 0 or (links >= _LEAST_LINKS and beside < links)):
        return "mostly-links"
    return "repetitive" if _is_repetitive(text) else None


def _is_repetitive(text: str) -> bool:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = _WORD.findall(text.lower())
    return any(
        len(said) >= _LEAST_REPEATS and Counter(said).most_common(1)[0][1] > _MOSTLY * len(said)
        for said in (lines, words)
    )


def cleaned(text: str, kind: Kind) -> str:
    """The text without what carries no meaning; cleaning it again changes nothing.

    Transcripts only lose blanks. Code between fences of an article stays as it is.
    """
    if kind == "transcript":
        return " ".join(text.split())
    once = _post if kind == "post" else _article
    # What one rule takes away can make work for another: an entity that becomes a tag, a tag between two blanks.
    for _ in range(_MOST_ROUNDS):
        before, text = text, once(text)
        if text == before:
            return text
    # Nobody nests so deeply for readers: without these signs no tags, entities, links and tags of posts are left.
    text = text.translate(dict.fromkeys(map(ord, "&<>[@#"), " "))
    while (after := once(text)) != text:
        text = after
    return text


def _post(text: str) -> str:
    text = shortened(without_links(without_html(_visible(text))))
    text = _MENTION.sub("", _HASHTAG.sub(lambda found: _words_of(found[1]), text))
    text = _REPEATED_LETTER.sub(r"\1\1\1", _REPEATED_SIGN.sub(r"\1\1\1", text))
    return _said_once([(False, _tidy(line).strip()) for line in text.split("\n")])


def _article(text: str) -> str:
    lines: list[tuple[bool, str]] = []
    for fenced, stretch in _stretches(_visible(text)):
        if fenced:
            lines += [(True, line) for line in stretch]
        else:
            plain = shortened(without_links(without_html("\n".join(stretch))))
            lines += [(False, _tidy(line)) for line in _REPEATED_SIGN.sub(r"\1\1\1", plain).split("\n")]
    return _said_once(lines)


def _visible(text: str) -> str:
    """Without control characters and signs of no width, in the composed form of Unicode (NFC)."""
    text = text.replace("\r\n", "\n").translate(_INVISIBLE)
    if "\u200c" in text or "\u200d" in text:
        text = _STRAY_JOINER.sub("", _JOINERS.sub("", text))
    return unicodedata.normalize("NFC", text)


def _words_of(hashtag: str) -> str:
    """`WaterMill_wheel` as three words."""
    starts = [0]
    for at in range(1, len(hashtag)):
        before, here, after = hashtag[at - 1], hashtag[at], hashtag[at + 1 : at + 2]
        if here.isupper() and (before.islower() or before.isdigit() or (before.isupper() and after.islower())):
            starts.append(at)
    words = [hashtag[start:end] for start, end in pairwise([*starts, len(hashtag)])]
    return " ".join(words).replace("_", " ").strip()


def _stretches(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Lines outside of fences and between fences, which are among the latter; a last fence fences nothing."""
    lines: list[str] = []
    fenced = False
    for line in text.split("\n"):
        if not _FENCE.match(line):
            lines.append(line)
        elif fenced:
            yield True, [*lines, line]
            lines, fenced = [], False
        else:
            yield False, lines
            lines, fenced = [line], True
    yield False, lines


def _tidy(line: str) -> str:
    """One blank instead of many; what is indented as code stays so, because its comments look like headers."""
    tidy = _BLANKS.sub(" ", line).strip()
    return f"{_INDENT}{tidy}" if tidy and _INDENTED.match(line) else tidy


def _said_once(lines: Sequence[tuple[bool, str]]) -> str:
    """The text without repeated lines and runs of blank ones; headers, and what is fenced, may repeat."""
    counts = Counter(line for fenced, line in lines if not fenced)
    kept: list[str] = []
    said: set[str] = set()
    last = ""
    for fenced, line in lines:
        if not fenced and (_WORD.search(line) is not None and not _HEADER.match(line)):
            if line == last or (line in said and counts[line] >= _BOILERPLATE):
                continue
            said.add(line)
        if fenced or line or (kept and kept[-1]):
            kept.append(line)
        last = line or last
    return "\n".join(kept).strip("\n")
