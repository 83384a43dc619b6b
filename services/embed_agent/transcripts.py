"""Cuts transcripts into chunks that can be found, and played from. Pure.

A chunk lasts 30 to 60 s and has 3 to 8 sentences; a tenth of it, at most 15 %, is said again by the next chunk, so
that a thought at a seam is found whole in one of them (feature F2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from millrace.contracts.events import Segment, Word
from services.embed_agent.domain import Chunk, CountTokens

SHORTEST_MS = 30_000
LONGEST_MS = 60_000
FEWEST_SENTENCES = 3
MOST_SENTENCES = 8
LEAST_OVERLAP = 0.10
MOST_OVERLAP = 0.15

_SENTENCE_ENDS = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f")


def transcript_chunks(segments: Sequence[Segment], count: CountTokens) -> list[Chunk]:
    """Chunks of a transcript, in order, with times; no word is lost.

    A chunk is shorter where the transcript ends, where nobody speaks for long, and where eight sentences are said in
    less than 30 s; it is cut inside a sentence only where that is longer than 60 s.
    """
    words = [word for segment in segments for word in words_of(segment)]
    chunks: list[Chunk] = []
    start = new = 0
    while new < len(words):
        end = _chunk_end(words, start, new)
        said = words[start:end]
        text = " ".join(word.text for word in said)
        chunks.append(Chunk(text, count(text), said[0].start_ms, max(word.end_ms for word in said)))
        start, new = _next_start(words, start, end), end
    return chunks


def words_of(segment: Segment) -> Iterator[Word]:
    """Words with times; where a backend gives none, they are spread over the segment by their length."""
    if segment.words:
        for word in segment.words:
            if text := " ".join(word.text.split()):
                yield word if text == word.text else word.model_copy(update={"text": text})
        return
    texts = segment.text.split()
    letters = sum(map(len, texts))
    length_ms, before = segment.end_ms - segment.start_ms, 0
    for text in texts:
        at = segment.start_ms + length_ms * before // letters
        before += len(text)
        yield Word(start_ms=at, end_ms=segment.start_ms + length_ms * before // letters, text=text)


def _chunk_end(words: Sequence[Word], start: int, new: int) -> int:
    """Index after the last word of the chunk that starts at `start` and has to bring `new`."""
    sentences, sentence_end = 0, new
    for at in range(start, len(words)):
        if words[at].end_ms - words[start].start_ms > LONGEST_MS:
            return sentence_end if sentence_end > new else max(at, new + 1)
        if words[at].text.endswith(_SENTENCE_ENDS) and at >= new:
            sentences, sentence_end = sentences + 1, at + 1
            long_enough = words[at].end_ms - words[start].start_ms >= SHORTEST_MS
            if (long_enough and sentences >= FEWEST_SENTENCES) or sentences == MOST_SENTENCES:
                return sentence_end
    return len(words)


def _next_start(words: Sequence[Word], start: int, end: int) -> int:
    """Where the next chunk starts: so far back that it says a tenth of this one again."""
    if end == len(words):
        return end
    length_ms = words[end - 1].end_ms - words[start].start_ms
    first = end
    while first > start + 1:
        said_again_ms = words[end - 1].end_ms - words[first - 1].start_ms
        if said_again_ms > MOST_OVERLAP * length_ms:
            break
        first -= 1
        if said_again_ms >= LEAST_OVERLAP * length_ms:
            break
    # After a long silence the words before it have nothing to do with what comes.
    return first if words[end].end_ms - words[first].start_ms <= LONGEST_MS else end
