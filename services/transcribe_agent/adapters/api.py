"""Speech to text behind any API that speaks OpenAI's protocol: OpenAI, a faster-whisper server, whisper.cpp, vLLM."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from millrace.errors import UnknownOutcome
from millrace.models.openai_api import errors_by_outcome
from millrace.models.port import Backend, Tariff, Use
from services.transcribe_agent.adapters.ffmpeg import encode_opus
from services.transcribe_agent.chunks import Chunk, overlapping_chunks
from services.transcribe_agent.domain import CONTAINER_MS, Heard
from services.transcribe_agent.languages import code_of, hint_of
from services.transcribe_agent.ports import Listened, Sound
from services.transcribe_agent.speech import Speech, within
from services.transcribe_agent.verbose import read_answer, segments_of

if TYPE_CHECKING:
    import openai

_CHUNK_MS = 600_000  # ten minutes of Opus are 2.4 MB; OpenAI takes 25 MB
_OVERLAP_MS = 2_000  # on both sides of a cut in the middle of speech: some words
_WITHOUT_TIMES = ("gpt-4o",)
"""Models that know the plain form of an answer only, which has no times."""


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

    async def ready(self, sound: Sound) -> Sound:
        """Encode it: who dies meanwhile has asked nobody."""
        return replace(sound, file=await encode_opus(sound.audio))

    async def transcribe(self, sound: Sound, *, within_s: float | None = None) -> Listened:
        """Ask the API once."""
        del within_s  # an API has a limit of its own, and bills all the same
        with errors_by_outcome(self.model):
            answer = await self._client.audio.transcriptions.with_raw_response.create(
                file=("speech.ogg", sound.file, "audio/ogg"),
                model=self.model,
                extra_body=self._form(sound.language),
            )
            said = read_answer(answer.text)
        if said is None:
            raise UnknownOutcome(f"the API of {self.model} gave an answer that cannot be read")
        length_ms = sound.audio.duration_ms
        # Providers bill begun seconds; one that does not say how many is charged what was held: never too little.
        billed_ms = -(-(length_ms + CONTAINER_MS) // 1000) * 1000 if said.billed_ms is None else said.billed_ms
        heard = Heard(
            language=code_of(said.language),
            segments=within(segments_of(said, length_ms), length_ms),
            billed_ms=billed_ms,
        )
        return Listened(heard, Use(audio_ms=billed_ms))

    def _form(self, language: str | None) -> dict[str, object]:
        hint = hint_of(language)
        known = {} if hint is None else {"language": hint}
        if self.model.startswith(_WITHOUT_TIMES):
            return {"response_format": "json", **known}
        # Temperature 0: from there the servers go up by themselves where they have to.
        form = {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"], "temperature": 0}
        return {**form, **known}
