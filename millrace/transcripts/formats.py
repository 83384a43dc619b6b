"""A transcript in each of the formats that are handed out. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.contracts.events import Segment
from millrace.contracts.transcript_api import (
    Billing,
    SpokenSegment,
    SpokenWord,
    TranscriptDocument,
    TranscriptFormat,
)
from millrace.transcripts.cues import make_cues
from millrace.transcripts.paragraphs import plain_text
from millrace.transcripts.subtitles import srt, vtt


def rendered(document: TranscriptDocument, segments: Sequence[Segment], kind: TranscriptFormat) -> bytes:
    """The whole file in UTF-8; it takes about a second for three hours of speech.

    :param segments: those of the document, with times in milliseconds.
    """
    if kind == "json":
        return document.model_dump_json(indent=2, exclude_none=True).encode()
    if kind == "txt":
        return plain_text(segments, document.text).encode()
    return (srt if kind == "srt" else vtt)(make_cues(segments)).encode()


def document_of(
    segments: Sequence[Segment],
    *,
    text: str,
    language: str | None,
    duration_ms: int,
    billing: Billing,
    note: str | None = None,
) -> TranscriptDocument:
    """A transcript with times in seconds; nothing of it is changed."""
    return TranscriptDocument(
        text=text,
        language=language,
        duration=duration_ms / 1000,
        segments=[_spoken(number, segment) for number, segment in enumerate(segments)],
        billing=billing,
        note=note,
    )


def _spoken(number: int, segment: Segment) -> SpokenSegment:
    words = [
        SpokenWord(word=word.text, start=word.start_ms / 1000, end=word.end_ms / 1000) for word in segment.words or []
    ]
    return SpokenSegment(
        id=number, start=segment.start_ms / 1000, end=segment.end_ms / 1000, text=segment.text, words=words or None
    )
