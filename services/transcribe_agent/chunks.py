"""Long speech in chunks: one call of a model each, cut where nobody speaks as far as that is possible. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from services.transcribe_agent.domain import BYTES_PER_MS, SAMPLE_RATE, Audio, Span
from services.transcribe_agent.speech import Pause, Speech

_FRAME_MS = 10
_QUIET_FRAMES = 10  # 100 ms: the shortest gap between words, and the closure of a plosive with its surroundings
_SHORTEST_REST_MS = 5_000  # models invent words for the last second of something when it comes alone


@dataclass(frozen=True)
class Chunk:
    """A stretch of speech that one call is about; times in milliseconds of all the speech.

    `span` is what the chunk answers for. `sound` is what the model hears, which reaches beyond where the cut is in
    the middle of speech: a word there is whole in both chunks, and `seams` keeps one of the two.
    `clips`: the parts that a model listens to on their own; empty: it cuts as it likes.
    """

    span: Span
    sound: Span
    clips: tuple[Span, ...] = ()


def overlapping_chunks(speech: Speech, *, most_ms: int, overlap_ms: int) -> list[Chunk]:
    """Chunks of at most `most_ms` of sound; those that meet in the middle of speech share twice `overlap_ms`."""
    most = most_ms - 2 * overlap_ms
    if speech.duration_ms <= most_ms:
        whole = Span(0, speech.duration_ms)
        return [Chunk(whole, whole)]
    spans = cut(speech, least_ms=most * 4 // 5, most_ms=most)
    pauses = {pause.at_ms for pause in speech.pauses}

    def sound(span: Span) -> Span:
        before = 0 if span.start_ms in {0, *pauses} else overlap_ms
        after = 0 if span.end_ms in {speech.duration_ms, *pauses} else overlap_ms
        return Span(max(0, span.start_ms - before), min(speech.duration_ms, span.end_ms + after))

    return [Chunk(span, sound(span)) for span in spans]


def batches(clips: Sequence[Span], *, size: int) -> list[Chunk]:
    """Chunks of so many clips; the first has one, which soon shows how fast the model is."""
    groups = [clips[:1], *(clips[at : at + size] for at in range(1, len(clips), size))]
    spans = [Span(group[0].start_ms, group[-1].end_ms) for group in groups if group]
    return [Chunk(span, span, tuple(group)) for span, group in zip(spans, groups, strict=False)]


def cut(speech: Speech, *, least_ms: int, most_ms: int) -> list[Span]:
    """Stretches of at most `most_ms`, and where possible of at least `least_ms`.

    Each ends at the longest pause that there is in between, or, where nobody pauses, at the quietest moment.
    """
    at, cuts = 0, [0]
    while speech.duration_ms - at > most_ms:
        first, last = at + least_ms, min(at + most_ms, max(at + least_ms, speech.duration_ms - _SHORTEST_REST_MS))
        pauses = [pause for pause in speech.pauses if first <= pause.at_ms <= last]
        at = _longest(pauses).at_ms if pauses else quietest_ms(speech.audio, first, last)
        cuts.append(at)
    cuts.append(speech.duration_ms)
    return [Span(start, end) for start, end in pairwise(cuts)]


def quietest_ms(audio: Audio, first_ms: int, last_ms: int) -> int:
    """The middle of the quietest 100 ms between two moments."""
    samples = np.frombuffer(audio.pcm[first_ms * BYTES_PER_MS : last_ms * BYTES_PER_MS], dtype="<i2")
    frame = SAMPLE_RATE // 1000 * _FRAME_MS
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame).astype(np.float32)
    if len(frames) < _QUIET_FRAMES:
        return (first_ms + last_ms) // 2
    power = np.convolve((frames * frames).mean(axis=1), np.ones(_QUIET_FRAMES), "valid")
    return first_ms + (int(power.argmin()) + _QUIET_FRAMES // 2) * _FRAME_MS


def _longest(pauses: Sequence[Pause]) -> Pause:
    return max(pauses, key=lambda pause: (pause.length_ms, pause.at_ms))
