"""What a text holds besides words: links, e-mail addresses, code. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel, ConfigDict

MOST_LINKS: Final = 20
_LONGEST_LINK: Final = 2000  # characters
# Every repetition is bounded, so that no text takes longer than its length.
_LINK: Final = re.compile(r"\bhttps?://[^\s<>\"'`\\^{|}\u3000-\u303f\uff01-\uff60]+", re.IGNORECASE)
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

    Addresses are counted and not kept: they are people's. So are links that hold a user's name.
    """
    return Metadata(links=_links(text), emails=_emails(text), code_blocks=_code_blocks(text))


def _links(text: str) -> list[str]:
    found: dict[str, None] = {}
    for match in _LINK.finditer(text):
        link = _trimmed(match.group())
        host = link.partition("://")[2].partition("/")[0]
        if host and "@" not in host and len(link) <= _LONGEST_LINK:
            found[link] = None
        if len(found) == MOST_LINKS:
            break
    return list(found)


def _trimmed(link: str) -> str:
    """Without the sentence's own signs behind it: `(see https://example.org/a_(b)).`"""
    while link:
        last = link[-1]
        alone = last in _BRACKETS and link.count(last) > link.count(_BRACKETS[last])
        if last not in _BEHIND and not alone:
            break
        link = link[:-1]
    return link


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
