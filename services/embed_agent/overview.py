"""What a share is about in one short text: title, description, tags, and how it begins. Pure.

Its vector (embedding type `summary`) counts in the one that stands for the whole share, by which searches find shares
first. No model is asked to write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from millrace.contracts.events import Segment, ShareCreated, TranscriptReady
from services.embed_agent.preprocess import cleaned
from services.embed_agent.transcripts import words_of

FIRST_MS: Final = 30_000
"""Of speech, from its first word."""
FIRST_WORDS: Final = 80
MOST_CHARACTERS: Final = 600
"""Of each part: what is written without blanks, or said in a hurry, is no longer than other beginnings."""


def about(event: TranscriptReady | ShareCreated) -> list[str]:
    """What an event says about a share beside its text: title, description and tags, as far as it has them."""
    if isinstance(event, TranscriptReady):
        parts = [event.title]
    else:
        parts = [event.title, event.description, ", ".join(event.tags)]
    # Cut before it is cleaned as well: a description can have many times the length that is used of it.
    clean = (beginning(cleaned((part or "")[: 4 * MOST_CHARACTERS], "post")) for part in parts)
    return [part for part in clean if part]


def overview(parts: Sequence[str], begins: str) -> str:
    """One text of all there is, a paragraph each; blank when there is nothing.

    :param begins: how the share's text begins.
    """
    return "\n\n".join(part for part in (*parts, begins) if part.strip())


def beginning(text: str) -> str:
    """The first 80 words, in at most 600 characters."""
    words = text[: 2 * MOST_CHARACTERS].split()[:FIRST_WORDS]
    start = " ".join(words)
    if len(start) <= MOST_CHARACTERS:
        return start
    return start[:MOST_CHARACTERS].rpartition(" ")[0] or start[:MOST_CHARACTERS]


def first_said(segments: Sequence[Segment]) -> str:
    """What is said in the first 30 s, from the first word on."""
    found: list[str] = []
    start_ms: int | None = None
    for word in (word for segment in segments for word in words_of(segment)):
        start_ms = word.start_ms if start_ms is None else start_ms
        if word.start_ms >= start_ms + FIRST_MS or len(found) > MOST_CHARACTERS:
            break
        found.append(word.text)
    return beginning(" ".join(found))
