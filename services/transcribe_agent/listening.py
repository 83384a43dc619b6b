"""One recording's chunks, each heard by the stage's own model or by the one that stands by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from millrace.errors import OutOfMemory, Poison
from millrace.models.port import Paid, Use
from millrace.money import MicroUSD
from millrace.stream.stage import Run
from millrace.telemetry import metrics
from services.transcribe_agent.chunks import Chunk
from services.transcribe_agent.domain import Heard, Span
from services.transcribe_agent.ports import Sound, Transcriber
from services.transcribe_agent.speech import Speech, moved

_LEAST_S = 10.0  # a model that has to warm up is not called slow for that


@dataclass(frozen=True)
class StandBy:
    """Who hears what the stage's own model cannot, because it runs out of memory or is too slow.

    `least_speed`: seconds of sound that the own model has to hear in a second; a slower one is stopped.
    """

    transcriber: Transcriber
    least_speed: float


class Answer(BaseModel):
    """What a call came to: what was heard, or why the model has given up; both are kept like any other answer."""

    model_config = ConfigDict(frozen=True)

    heard: Heard | None = None
    gave_up: str | None = None


class Listener:
    """Hears a recording chunk by chunk. A chunk's calls have numbers of their own, so that no answer is paid twice.

    :param own: the model that the work is planned with.
    """

    def __init__(self, run: Run, own: Transcriber, stand_by: StandBy | None, *, clock: Callable[[], float]) -> None:
        self._run = run
        self._own = own
        self._stand_by = stand_by
        self._clock = clock
        self._gave_up = False
        self._language: str | None = None
        self.used = own
        """Who has heard the last chunk."""

    async def hear(self, number: int, chunk: Chunk, speech: Speech) -> Heard:
        """What is said in a chunk; times in milliseconds of all the speech.

        :param number: counts the recording's chunks from 0.
        """
        start = chunk.sound.start_ms
        clips = tuple(Span(clip.start_ms - start, clip.end_ms - start) for clip in chunk.clips)
        sound = Sound(speech.audio.part(chunk.sound), clips, self._language)
        heard = await self._heard(number, sound)
        self._language = self._language or heard.language
        return heard.model_copy(update={"segments": moved(heard.segments, start)})

    async def _heard(self, number: int, sound: Sound) -> Heard:
        own, stand_by = self._own, self._stand_by
        if not self._gave_up:
            answer = await self._call(2 * number, own, sound, None if stand_by is None else stand_by.least_speed)
            if answer.heard is not None:
                return answer.heard
            self._gave_up = True  # it will not do better with what follows
        if stand_by is None:
            raise Poison(
                f"the model {own.model} gave up, and no API stands by any more: set its key, or replay with --force"
            )
        self.used = stand_by.transcriber
        answer = await self._call(2 * number + 1, stand_by.transcriber, sound, None)
        return answer.heard or Heard(language=None, segments=[])

    async def _call(self, call_no: int, model: Transcriber, sound: Sound, least_speed: float | None) -> Answer:
        ms = sound.audio.duration_ms
        within_s = None if least_speed is None else max(_LEAST_S, ms / 1000 / least_speed)

        async def do() -> Paid[Answer]:
            started = self._clock()
            try:
                listened = await model.transcribe(sound, within_s=within_s)
            except (TimeoutError, OutOfMemory) as exc:
                if within_s is None:
                    raise
                why = str(exc) or f"{model.model} hears less than {least_speed:g} s of sound in a second"
                worked_s = min(self._clock() - started, within_s)  # what it waited for a child is free
                return Paid(Answer(gave_up=why), model.tariff.cost(Use(seconds=worked_s)))
            factor = (self._clock() - started) / max(ms / 1000, 0.001)
            metrics.REALTIME_FACTOR.labels(model.backend, model.model).observe(factor)
            return Paid(Answer(heard=listened.heard), model.tariff.cost(listened.use))

        hold = model.tariff.most(audio_ms=ms)
        if within_s is not None:
            hold = MicroUSD(max(hold, model.tariff.cost(Use(seconds=within_s))))
        return await self._run.call(
            call_no, Answer, model=model.model, hold=hold, do=do, local=model.backend == "local"
        )
