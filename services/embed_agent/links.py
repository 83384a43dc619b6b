"""URLs in a text: what they say in words is kept, the rest is noise to a model. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urlsplit

LONGEST_URL: Final = 60
"""Characters; of a longer URL its host and the words of its path are kept."""

URL: Final = re.compile(r"https?://[^\s<>\"'`|\\^{}]+", re.IGNORECASE)
_END = ".,;:!?)]*_~\u2026\u3002\uff0c\uff09"
_TRACKING = re.compile(
    r"(?:utm_\w+|mtm_\w+|pk_\w+|hsa_\w+|fbclid|gclid|gbraid|wbraid|dclid|msclkid|twclid|ttclid|yclid|igshid|igsh|"
    r"mc_[ce]id|_hsenc|_hsmi|mkt_tok|ref|ref_src|ref_url|si|spm|share_id|feature)=[^&#]*",
    re.IGNORECASE,
)
# Anything but signs and digits: \w has no marks, without which words of Indian languages fall apart.
_PATH_WORD = re.compile(r"[^\x00-\x40\[-`{-\xbf\s]{2,}")


def shortened(text: str) -> str:
    """The text with URLs without what only counts visitors, and long ones as host and words of the path."""
    return URL.sub(lambda found: _short(found[0]), text)


def _short(found: str) -> str:
    url = found.rstrip(_END)
    short = _untracked(url)
    return (short if len(short) <= LONGEST_URL else _in_words(url)) + found[len(url) :]


def _untracked(url: str) -> str:
    base, question, rest = url.partition("?")
    if not question:
        return url
    query, mark, fragment = rest.partition("#")
    kept = "&".join(part for part in query.split("&") if part and not _TRACKING.fullmatch(part))
    return base + (f"?{kept}" if kept else "") + mark + fragment


def _in_words(url: str) -> str:
    try:
        parsed = urlsplit(url)
        host, path = parsed.hostname or "", parsed.path
    except ValueError:  # an address in brackets that is none
        host, path = "", url.partition("://")[2]
    return " ".join([host.removeprefix("www."), *_PATH_WORD.findall(unquote(path, errors="ignore"))]).strip()
