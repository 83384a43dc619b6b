"""One recording's chunks, each heard by the stage's own model or by the one that stands by.

How the recording is cut is decided once: the first chunk's answer says it, and whoever goes on with the work cuts
likewise, whatever his settings and libraries would make of the same sound. So a number of a call means the same sound
at every attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict

from millrace.errors import OutOfMemory, Poison
from millrace.models.port import Backend, Paid, Use
from millrace.money import MicroUSD
from millrace.stream.stage import Run
from millrace.telemetry import metrics
from services.transcribe_agent.chunks import Chunk
from services.transcribe_agent.domain import CONTAINER_MS, Audio, Heard, Span
from services.transcribe_agent.ports import Sound, Transcriber
from services.transcribe_agent.speech import Speech, moved, only_speech

_LEAST_S = 10.0  # a model that has to warm up is not called slow for that


@dataclass(frozen=True)
class StandBy:
    """Who hears what the stage's own model cannot, because it runs out of memory or is too slow.

    `least_speed`: seconds of sound that the own model has to hear in a second; a slower one is stopped.
    """

    transcriber: Transcriber
    least_speed: float


class Cutting(BaseModel):
    """Where somebody speaks in a recording, and the chunks of that speech; as in `only_speech` and `Chunk`."""

    model_config = ConfigDict(frozen=True)

    spans: list[Span]
    chunks: list[Chunk]


class ChunkAnswer(BaseModel):
    """What a call came to: what was heard and by whom, or why the model has given up; kept like any other answer.

    `cutting` is in the answers about the first chunk.
    """

    model_config = ConfigDict(frozen=True)

    heard: Heard | None = None
    gave_up: str | None = None
    backend: Backend
    model: str
    cutting: Cutting | None = None


class Listener:
    """Hears a recording chunk by chunk. A chunk's calls have numbers of their own, so that no answer is paid twice.

    :param own: the model that the work is planned with.
    :param cutting: of the recording, unless an earlier attempt has cut it otherwise.
    """

    def __init__(
        self,
        run: Run,
        own: Transcriber,
        stand_by: StandBy | None,
        audio: Audio,
        cutting: Cutting,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._run = run
        self._own = own
        self._stand_by = stand_by
        self._audio = audio
        self._clock = clock
        self._speech = only_speech(audio, cutting.spans)
        self._gave_up = False
        self._language: str | None = None
        self.cutting = cutting
        """As it holds for this recording, once the first chunk was heard."""
        self.used: tuple[Backend, str] = own.backend, own.model
        """Who has heard the last chunk: backend and model."""

    @property
    def speech(self) -> Speech:
        """All that is listened to."""
        return self._speech

    async def hear(self, number: int) -> Heard:
        """What is said in a chunk; times in milliseconds of all the speech.

        :param number: of the chunk, from 0.
        """
        heard = await self._heard(number)
        self._language = self._language or heard.language
        start_ms = self.cutting.chunks[number].sound.start_ms
        return heard.model_copy(update={"segments": moved(heard.segments, start_ms)})

    async def _heard(self, number: int) -> Heard:
        own, stand_by = self._own, self._stand_by
        if not self._gave_up:
            answer = await self._call(number, 2 * number, own, None if stand_by is None else stand_by.least_speed)
            if answer.heard is not None:
                return answer.heard
            self._gave_up = True  # it will not do better with what follows
        if stand_by is None:
            answer = await self._kept(2 * number + 1)
        else:
            answer = await self._call(number, 2 * number + 1, stand_by.transcriber, None)
        return answer.heard or Heard(language=None, segments=[])

    async def _call(self, number: int, call_no: int, model: Transcriber, least_speed: float | None) -> ChunkAnswer:
        sound = await model.ready(self._sound(number))
        ms = sound.audio.duration_ms
        within_s = None if least_speed is None else max(_LEAST_S, ms / 1000 / least_speed)
        cutting = self.cutting if number == 0 else None

        async def do() -> Paid[ChunkAnswer]:
            started = self._clock()
            try:
                listened = await model.transcribe(sound, within_s=within_s)
            except (TimeoutError, OutOfMemory) as exc:
                if within_s is None:
                    raise
                why = str(exc) or f"{model.model} hears less than {least_speed:g} s of sound in a second"
                worked_s = min(self._clock() - started, within_s)  # no more than is held, whatever it waited for
                gave_up = ChunkAnswer(gave_up=why, backend=model.backend, model=model.model, cutting=cutting)
                return Paid(gave_up, model.tariff.cost(Use(seconds=worked_s)))
            factor = (self._clock() - started) / max(ms / 1000, 0.001)
            metrics.REALTIME_FACTOR.labels(model.backend, model.model).observe(factor)
            answer = ChunkAnswer(heard=listened.heard, backend=model.backend, model=model.model, cutting=cutting)
            return Paid(answer, model.tariff.cost(listened.use), replace(listened.use, audio_ms=ms))

        hold = model.tariff.most(audio_ms=ms + (CONTAINER_MS if model.backend == "api" else 0))
        if within_s is not None:
            hold = MicroUSD(max(hold, model.tariff.cost(Use(seconds=within_s))))
        return self._noted(
            await self._run.call(
                call_no, ChunkAnswer, model=model.model, hold=hold, do=do, local=model.backend == "local"
            )
        )

    async def _kept(self, call_no: int) -> ChunkAnswer:
        """What an API has answered when there was one.

        :raises Poison: nothing: it was not asked any more.
        """
        own = self._own

        async def nobody() -> Paid[ChunkAnswer]:
            raise Poison(
                f"the model {own.model} gave up, and no API stands by any more: set its key, or replay with --force"
            )

        return self._noted(
            await self._run.call(call_no, ChunkAnswer, model=own.model, hold=MicroUSD(0), do=nobody, local=True)
        )

    def _noted(self, answer: ChunkAnswer) -> ChunkAnswer:
        if answer.heard is not None:
            self.used = answer.backend, answer.model
        if answer.cutting is not None and answer.cutting != self.cutting:
            self.cutting = answer.cutting
            self._speech = only_speech(self._audio, answer.cutting.spans)
        return answer

    def _sound(self, number: int) -> Sound:
        chunk = self.cutting.chunks[number]
        start = chunk.sound.start_ms
        clips = tuple(Span(clip.start_ms - start, clip.end_ms - start) for clip in chunk.clips)
        return Sound(self._speech.audio.part(chunk.sound), clips, self._language)
