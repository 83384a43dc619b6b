"""What a page without a video says about itself."""

from __future__ import annotations

import contextlib
from html.parser import HTMLParser

_MOST = 10_000  # characters of a text
_TITLES = ("og:title", "twitter:title")
_DESCRIPTIONS = ("og:description", "twitter:description", "description")


class _Head(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.meta: dict[str, str] = {}
        self.title = ""
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title":
            self._in_title = not self.title
        if tag == "meta":
            given = {name: value or "" for name, value in attrs}
            name = (given.get("property") or given.get("name") or "").lower()
            if name and given.get("content", "").strip():
                self.meta.setdefault(name, given["content"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title and len(self.title) < _MOST:
            self.title += data


def caption_of(html: str) -> dict[str, str]:
    """Title and description of a page, each at most 10,000 characters; empty where it has none."""
    head = _Head()
    with contextlib.suppress(AssertionError):  # for `<![foo bar[` and the like; what was read before counts
        head.feed(html)
    title = next((head.meta[name] for name in _TITLES if name in head.meta), head.title)
    description = next((head.meta[name] for name in _DESCRIPTIONS if name in head.meta), "")
    return {"title": _plain(title), "description": _plain(description)}


def decoded(page: bytes, charset: str | None) -> str:
    """A page as text, by the charset that its server names; as UTF-8 where that is none, or no text comes of it."""
    with contextlib.suppress(LookupError, ValueError):
        return page.decode(charset or "utf-8", "replace")
    return page.decode("utf-8", "replace")


def _plain(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text[:_MOST].splitlines() if line.strip())
