"""What is left of HTML in a text, and links of markdown: their words without their signs. Pure."""

from __future__ import annotations

import html
import re
from typing import Final

_INLINE: Final = (
    "a|abbr|acronym|b|bdi|bdo|big|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|q|rp|rt|ruby|s|samp|small|span|"
    "strike|strong|sub|sup|time|tt|u|var|wbr"
)
_BLOCK: Final = (
    "address|area|article|aside|audio|base|blockquote|body|br|button|canvas|caption|center|col|colgroup|dd|details|"
    "dialog|div|dl|dt|fieldset|figcaption|figure|footer|form|h[1-6]|head|header|hr|html|iframe|img|input|legend|li|"
    "link|main|meta|nav|noscript|object|ol|optgroup|option|p|param|picture|pre|script|section|select|source|style|"
    "summary|svg|table|tbody|td|template|textarea|tfoot|th|thead|title|tr|track|ul|video"
)
# Only names that HTML has, and attributes with values or well-known ones without: `if a <b and c> d` is no tag.
_ATTRIBUTE: Final = (
    r"\s+(?:[\w:@.-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+)|"
    r"(?:allowfullscreen|async|autoplay|checked|controls|defer|disabled|hidden|loop|muted|open|selected)(?=[\s/>]))"
)
_TAG = re.compile(
    rf"(?P<code>`[^`\n]+`)|<(?=/?[a-z])(?P<end>/?)(?P<name>{_INLINE}|{_BLOCK})(?:{_ATTRIBUTE})*\s*/?>", re.IGNORECASE
)
_IS_INLINE = re.compile(rf"(?:{_INLINE})", re.IGNORECASE)
_HIDDEN = (
    (re.compile(r"<!--"), re.compile(r"-->")),
    (re.compile(rf"<script(?:{_ATTRIBUTE})*\s*>", re.IGNORECASE), re.compile(r"</script\s*>", re.IGNORECASE)),
    (re.compile(rf"<style(?:{_ATTRIBUTE})*\s*>", re.IGNORECASE), re.compile(r"</style\s*>", re.IGNORECASE)),
)
_NESTED_AMPERSAND = re.compile(r"&(?:(?:amp|#0*38|#x0*26);)+", re.IGNORECASE)
_LINK = re.compile(
    r"!?\[(?P<words>[^\[\]\n]*)\]"
    r"\((?=[^()\s]*[/.:#])(?:[^()\s]|\([^()\s]*\))+(?:\s+(?:\"[^\"\n]*\"|'[^'\n]*'))?\)"
)


def without_html(text: str) -> str:
    """Entities as characters, and no tags, comments, scripts and styles; inline code stays as it is.

    Blocks become paragraphs, headings become headers of markdown, items of lists get a dash.
    """
    text = html.unescape(_NESTED_AMPERSAND.sub("&", text)) if "&" in text else text
    if "<" not in text:
        return text
    for start, end in _HIDDEN:
        text = _without(text, start, end)
    return _TAG.sub(_in_place_of, text)


def without_links(text: str) -> str:
    """The words of markdown's links and images, without where they lead."""
    return _LINK.sub(lambda found: found["words"], text) if "](" in text else text


def _in_place_of(found: re.Match[str]) -> str:
    if found["code"]:
        return found["code"]
    name = found["name"].lower()
    if _IS_INLINE.fullmatch(name):
        return ""
    if name in {"br", "tr"}:
        return "\n"
    if name in {"td", "th"}:
        return " "
    if found["end"] or name not in {"h1", "h2", "h3", "h4", "h5", "h6", "li"}:
        return "\n" if name == "li" else "\n\n"
    return "\n- " if name == "li" else "\n\n" + "#" * int(name[1]) + " "


def _without(text: str, start: re.Pattern[str], end: re.Pattern[str]) -> str:
    """The text without the stretches between the two; what never ends is no such stretch."""
    kept, at = [], 0
    while (found := start.search(text, at)) and (closed := end.search(text, found.end())):
        kept.append(text[at : found.start()])
        at = closed.end()
    return "".join([*kept, text[at:]])
