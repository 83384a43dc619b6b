"""What a text is like, told by rules and a small model on this machine: language, quality, signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from millrace import signature as signatures
from millrace.language import detect_language
from millrace.quality import Quality, quality_of
from millrace.text import looks_binary
from services.embed_agent.domain import Source
from services.embed_agent.preprocess import cleaned, kind_of

VERSION: Final = f"1 {signatures.VERSION}"
"""Of all rules together; another one has all texts looked at again."""


@dataclass(frozen=True)
class Insight:
    """`language` is a BCP 47 tag, `signature` is that of `millrace.signature`; None where a text has none."""

    language: str | None
    quality: Quality
    signature: list[int] | None


NOTHING: Final = Insight(None, Quality(), None)
"""Of what is no text."""


def insight_of(text: str, source: Source, content_type: str) -> Insight:
    """Look at a text; 1 MB takes a quarter of a second.

    Its quality is that of the text as it was shared, spam and all; its signature that of the cleaned one.
    """
    if looks_binary(text):
        return NOTHING
    clean = cleaned(text, kind_of(source, content_type))
    return Insight(detect_language(clean), quality_of(text), signatures.signature(clean))
