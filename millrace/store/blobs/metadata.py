"""Metadata for S3: any text as ASCII that goes through headers unchanged, and back. Pure.

Values are percent-encoded UTF-8, spaces and `%` included. All of it together is at most 2 KB, S3's limit for what
users add (https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html); the longest value is cut first,
between characters, and ends with an ellipsis then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

LIMIT_BYTES: Final = 2048
_PREFIX: Final = "x-amz-meta-"
"""Counted with each name: some servers do, and S3's own limit is met then, too."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
# No space: signatures collapse runs of them. No comma, `=` or `?`: proxies join and split headers at commas, and
# `=?…?=` is an encoding of its own.
_SAFE: Final = "-._~!$'()*:;/@+"
_CUT: Final = "…"


def encode(metadata: Mapping[str, str]) -> dict[str, str]:
    """As S3 takes it; what is empty is left out.

    :raises ValueError: a name is not of lower-case letters, digits and `-`.
    """
    for name in metadata:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be a name of metadata")
    texts = {name: text for name, text in metadata.items() if text}
    while (over := _size(texts) - LIMIT_BYTES) > 0:
        longest = max(texts, key=lambda name: len(_encoded(texts[name])))
        shorter = _cut(texts[longest], len(_encoded(texts[longest])) - over)
        if shorter:
            texts[longest] = shorter
        else:
            del texts[longest]
    return {name: _encoded(text) for name, text in texts.items()}


def decode(encoded: Mapping[str, str]) -> dict[str, str]:
    """What was encoded."""
    return {name.lower(): unquote(text, errors="surrogatepass") for name, text in encoded.items()}


def _encoded(text: str) -> str:
    return quote(text, safe=_SAFE, errors="surrogatepass")


def _size(texts: Mapping[str, str]) -> int:
    return sum(len(_PREFIX) + len(name) + len(_encoded(text)) for name, text in texts.items())


def _cut(text: str, room: int) -> str:
    """The beginning of a text that takes at most `room` bytes encoded, with its ellipsis; empty when none does."""
    text = text.removesuffix(_CUT)
    room -= len(_encoded(_CUT))
    kept = 0
    for place, character in enumerate(text):
        room -= len(_encoded(character))
        if room < 0:
            break
        kept = place + 1
    return text[:kept] + _CUT if kept else ""
