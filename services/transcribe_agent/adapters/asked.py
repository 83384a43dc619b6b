"""What the agent asks the children that hear, and what they answer; apart, so that they import little else of it."""

from __future__ import annotations

from pydantic import BaseModel

from millrace.contracts.events import Segment


class Asked(BaseModel):
    """What a child is asked about; the samples go with it, as in `Audio.pcm`, to be heard with a gain.

    `clips` are start and end in milliseconds of what is listened to at once, 30 s at most.
    """

    gain_db: float
    clips: list[tuple[int, int]] = []
    language: str | None = None


class Transcribed(BaseModel):
    """The answer of a child that listens: what was heard, and the seconds that it took."""

    language: str | None
    segments: list[Segment]
    seconds: float


class Spoken(BaseModel):
    """Start and end of where somebody speaks, in milliseconds."""

    spans: list[tuple[int, int]]
