"""A transcript as text that is read without sound. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from millrace.contracts.events import Segment
from millrace.transcripts.breaks import ends_sentence
from millrace.transcripts.tokens import Token, cleaned, joined, tokens_of
from millrace.transcripts.units import width

PAUSE_MS: Final = 2000
"""A pause after which a paragraph begins."""
LONG_COLUMNS: Final = 600
"""A paragraph of this width, some hundred words, ends with its sentence."""


def plain_text(segments: Sequence[Segment], text: str) -> str:
    """Paragraphs with an empty line between them, and a line feed at the end of what is not empty.

    :param text: what is written where there are no segments.
    """
    found = [joined(part) for part in paragraphs(segments)] or [" ".join(cleaned(text).split())]
    return "\n\n".join(found) + "\n" if any(found) else ""


def paragraphs(segments: Sequence[Segment]) -> list[list[Token]]:
    """Paragraphs, which begin after pauses and where one has become long; all words, each once."""
    found: list[list[Token]] = []
    columns = 0
    for token in tokens_of(segments):
        before = found[-1][-1] if found else None
        if before is None or _begins(before, token, columns):
            found.append([])
            columns = 0
        found[-1].append(token)
        columns += width(token.text) + 1
    return found


def _begins(before: Token, token: Token, columns: int) -> bool:
    if token.start_ms - before.end_ms > PAUSE_MS:
        return True
    return columns >= LONG_COLUMNS and ends_sentence(before, token)
