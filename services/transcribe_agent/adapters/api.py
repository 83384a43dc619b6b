"""Speech to text behind any API that speaks OpenAI's protocol: OpenAI, a faster-whisper server, whisper.cpp, vLLM."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, ValidationError

from millrace.contracts.events import Segment, Word
from millrace.errors import UnknownOutcome
from millrace.models.openai_api import errors_by_outcome
from millrace.models.port import Tariff, Use
from services.transcribe_agent.adapters.ffmpeg import encode_opus
from services.transcribe_agent.chunks import Chunk, overlapping_chunks
from services.transcribe_agent.domain import Backend, Heard
from services.transcribe_agent.languages import code_of
from services.transcribe_agent.ports import Listened, Sound
from services.transcribe_agent.speech import Speech

if TYPE_CHECKING:
    import openai

_CHUNK_MS = 600_000  # ten minutes of Opus are 2.4 MB; OpenAI takes 25 MB
_OVERLAP_MS = 2_000  # on both sides of a cut in the middle of speech: some words
_MOST_SECONDS = 86_400
# Whisper's own rule for what it has made up in silence.
_NO_SPEECH, _LEAST_LOGPROB = 0.6, -1.0
_LONGEST = 200_000  # characters: twenty times what somebody says in ten minutes
_WITHOUT_TIMES = ("gpt-4o",)
"""Models that know the plain form of an answer only, which has no times."""

Seconds = Annotated[float, Field(ge=0, le=_MOST_SECONDS, allow_inf_nan=False)]


class _Word(BaseModel):
    word: str
    start: Seconds
    end: Seconds


class _Segment(BaseModel):
    text: str
    start: Seconds
    end: Seconds
    no_speech_prob: float = 0.0
    avg_logprob: float = 0.0

    @property
    def is_invented(self) -> bool:
        return self.no_speech_prob > _NO_SPEECH and self.avg_logprob < _LEAST_LOGPROB


class _Usage(BaseModel):
    type: str
    seconds: Seconds | None = None


class _Answer(BaseModel):
    """What `verbose_json` says, as far as it is used; servers leave out words, duration and usage."""

    text: str = Field(max_length=_LONGEST)
    language: str | None = None
    segments: list[_Segment] | None = None
    words: list[_Word] | None = None
    usage: _Usage | None = None


class ApiTranscriber:
    """Listens to ten minutes a call; implements `Transcriber`."""

    backend: Backend = "api"

    def __init__(self, client: openai.AsyncOpenAI, *, model: str, tariff: Tariff) -> None:
        self._client = client
        self.model = model
        self.tariff = tariff

    def chunks(self, speech: Speech) -> list[Chunk]:
        """Ten minutes each, cut at the longest pause of their last two."""
        return overlapping_chunks(speech, most_ms=_CHUNK_MS, overlap_ms=_OVERLAP_MS)

    async def transcribe(self, sound: Sound, *, within_s: float | None = None) -> Listened:
        """Ask the API once."""
        del within_s  # an API has a limit of its own, and bills all the same
        opus = await encode_opus(sound.audio)
        with errors_by_outcome(self.model):
            answer = await self._client.audio.transcriptions.with_raw_response.create(
                file=("speech.ogg", opus, "audio/ogg"),
                model=self.model,
                extra_body=self._form(sound.language),
            )
            body = answer.text
        try:
            said = _Answer.model_validate_json(body)
        except ValidationError:  # not `from exc`: it quotes the answer
            raise UnknownOutcome(f"the API of {self.model} gave an answer that cannot be read") from None
        # Providers bill begun seconds; one that does not say how many is charged what was held: never too little.
        sent_ms = -(-sound.audio.duration_ms // 1000) * 1000
        seconds = said.usage.seconds if said.usage else None
        billed_ms = sent_ms if seconds is None else round(seconds * 1000)
        heard = Heard(
            language=code_of(said.language),
            segments=_segments(said, sound.audio.duration_ms),
            billed_ms=billed_ms,
        )
        return Listened(heard, Use(audio_ms=billed_ms))

    def _form(self, language: str | None) -> dict[str, object]:
        known = {} if language is None else {"language": language}
        if self.model.startswith(_WITHOUT_TIMES):
            return {"response_format": "json", **known}
        # Temperature 0: from there the servers go up by themselves where they have to.
        form = {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"], "temperature": 0}
        return {**form, **known}


def _segments(said: _Answer, length_ms: int) -> list[Segment]:
    """Segments with the words inside them; one for all of an answer that has no times."""
    if said.segments is None:
        text = _clean(said.text)
        return [Segment(start_ms=0, end_ms=length_ms, text=text)] if text else []
    words = sorted(said.words or [], key=lambda word: word.start)
    found, at = [], 0
    kept = [
        one for one in sorted(said.segments, key=lambda one: one.start) if _clean(one.text) and not one.is_invented
    ]
    for number, segment in enumerate(kept):
        until = kept[number + 1].start if number + 1 < len(kept) else float("inf")
        inside = _until(words[at:], until)
        at += len(inside)
        found.append(_segment(segment, inside if said.words else None))
    return found


def _until(words: Sequence[_Word], end: float) -> list[_Word]:
    """The first words, up to those whose middle is at the end or behind it."""
    count = next((n for n, word in enumerate(words) if (word.start + word.end) / 2 >= end), len(words))
    return list(words[:count])


def _segment(segment: _Segment, words: Iterable[_Word] | None) -> Segment:
    start = _ms(segment.start)
    return Segment(
        start_ms=start,
        end_ms=max(start, _ms(segment.end)),
        text=_clean(segment.text),
        words=None if words is None else [_word(word) for word in words if _clean(word.word)],
    )


def _word(word: _Word) -> Word:
    start = _ms(word.start)
    return Word(start_ms=start, end_ms=max(start, _ms(word.end)), text=_clean(word.word))


def _clean(text: str) -> str:
    return text.replace("\0", "").strip()  # PostgreSQL keeps no NUL


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
