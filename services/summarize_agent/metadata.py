"""What a text holds besides words: links, e-mail addresses, code. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict

MOST_LINKS: Final = 20
_LONGEST_LINK: Final = 2000  # characters
# Every repetition is bounded, so that no text takes longer than its length.
_LINK: Final = re.compile(r"\bhttps?://[^\s<>\"'`\\^{|}\u3000-\u303f\uff01-\uff60]{1,2001}", re.IGNORECASE)
_EMAIL: Final = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_FENCE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$", re.MULTILINE)
_BEHIND: Final = ".,;:!?*_\u2026"
_BRACKETS: Final = {")": "(", "]": "["}


class Metadata(BaseModel):
    """What a summary says about its text."""

    model_config = ConfigDict(frozen=True)

    links: list[str] = []
    emails: int = 0
    code_blocks: int = 0


def metadata_of(text: str) -> Metadata:
    """Links in the order in which they stand, each once, at most 20; how many e-mail addresses and blocks of code.

    Addresses are counted and not kept: they are people's. Links that hold one, or a user's name, are not kept.
    """
    return Metadata(links=_links(text), emails=_emails(text), code_blocks=_code_blocks(text))


def _links(text: str) -> list[str]:
    found: dict[str, None] = {}
    for match in _LINK.finditer(text):
        if len(match.group()) > _LONGEST_LINK:
            continue
        link = _trimmed(match.group())
        host = link.partition("://")[2].partition("/")[0]
        if host and "@" not in host and not _EMAIL.search(unquote(link)):
            found[link] = None
        if len(found) == MOST_LINKS:
            break
    return list(found)


def _trimmed(link: str) -> str:
    """Without the sentence's own signs behind it: `(see https://example.org/a_(b)).`"""
    alone = {closes: link.count(closes) - link.count(opens) for closes, opens in _BRACKETS.items()}
    end = len(link)
    while end and (link[end - 1] in _BEHIND or alone.get(link[end - 1], 0) > 0):
        end -= 1
        if link[end] in alone:
            alone[link[end]] -= 1
    return link[:end]


def _emails(text: str) -> int:
    return len({match.group().lower() for match in _EMAIL.finditer(_LINK.sub(" ", text))})


def _code_blocks(text: str) -> int:
    """Blocks between fences, as CommonMark has them; one that is never closed goes to the end of the text."""
    return sum(1 for _ in _opened(text))


def _opened(text: str) -> Iterator[str]:
    fence = ""
    for match in _FENCE.finditer(text):
        marks, behind = match.groups()
        if not fence:
            if marks[0] == "~" or "`" not in behind:
                fence = marks
                yield marks
        elif marks[0] == fence[0] and len(marks) >= len(fence) and not behind.strip():
            fence = ""
