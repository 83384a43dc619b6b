"""The stage's handler: from media in the store to a transcript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from millrace.contracts.events import Event, MediaReady, ResultEvent, Segment, TranscriptReady
from millrace.errors import Skipped
from millrace.models.choice import Models
from millrace.models.port import Paid
from millrace.money import ZERO, MicroUSD
from millrace.store.blobs import BlobStore
from millrace.store.media import lent
from millrace.store.transcripts import keep_large
from millrace.stream.stage import MODEL_OPTION, Finished, Plan, Run, StageHandler
from services.transcribe_agent.domain import (
    Audio,
    Heard,
    HeardSoFar,
    Span,
    TranscriptResult,
    is_silent,
    later,
    only_speech,
    rest,
    restored,
)
from services.transcribe_agent.ports import Decoder, SpeechDetector, Transcriber

_SHORTEST_MS = 100  # of speech: less holds no word
_DECODED = 0.1  # share of the progress display that decoding takes


class TranscribeHandler(StageHandler[MediaReady, TranscriptResult]):
    """Transcribes media.

    :param silent_db: media whose loudest second is below this level buys nothing.
    :param pause_ms: the pauses that `detector` leaves out; it changes the result, so it is part of the work key.
    """

    result_type = TranscriptResult
    event_type = TranscriptReady

    def __init__(
        self,
        *,
        blobs: BlobStore,
        decoder: Decoder,
        detector: SpeechDetector,
        transcriber: Transcriber,
        silent_db: float,
        pause_ms: int,
    ) -> None:
        self._blobs = blobs
        self._decoder = decoder
        self._detector = detector
        self._transcriber = transcriber
        self._models = Models(transcriber.model, transcriber)
        self._silent_db = silent_db
        self._pause_ms = pause_ms

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan[MediaReady] | None:
        """Media is transcribed; anything else is not for this stage."""
        if not isinstance(event, MediaReady):
            return None
        model = self._models.of(options.get(MODEL_OPTION)).model
        parameters = {"silent_db": self._silent_db, "pause_ms": self._pause_ms}
        return Plan(event, event.sha256, model, parameters, self._transcriber.backend == "local")

    def most(self, plan: Plan[MediaReady]) -> MicroUSD:
        """What the whole sound is held for."""
        media = plan.event
        return self._transcriber.tariff.most(audio_ms=media.duration_ms) if media.has_audio else ZERO

    async def work(self, plan: Plan[MediaReady], run: Run) -> TranscriptResult:
        """Decode, leave out what is not speech, and let the model listen to the rest."""
        media = plan.event
        if not media.has_audio:
            raise Skipped("no-audio")
        async with lent(self._blobs, media.blob_key, media.share_id) as path:
            audio = await self._decoder.decode(path)
        spans = await self._detector.spans(audio)
        if is_silent(audio, spans, silent_db=self._silent_db):
            raise Skipped("silent")
        await run.progress(_DECODED)
        speech = only_speech(audio, spans)
        heard = await self._listen(plan, run, audio, speech, spans)
        segments_ref = await keep_large(self._blobs, heard.segments)
        return TranscriptResult(
            language=heard.language,
            text=heard.text,
            segments=heard.segments if segments_ref is None else [],
            segments_ref=segments_ref,
            duration_ms=media.duration_ms,
            billed_ms=speech.duration_ms,
            backend=self._transcriber.backend,
            model=plan.model,
        )

    def skipped(self, plan: Plan[MediaReady], reason: str) -> TranscriptResult:
        """No text, and the reason."""
        return TranscriptResult(
            skipped_reason=reason,
            duration_ms=plan.event.duration_ms,
            backend=self._transcriber.backend,
            model=plan.model,
        )

    def event(self, plan: Plan[MediaReady], done: Finished[TranscriptResult]) -> ResultEvent:
        """`TranscriptReady` for the share, with its title."""
        return done.as_event(self.event_type, plan.event, title=plan.event.title)

    async def _listen(
        self, plan: Plan[MediaReady], run: Run, audio: Audio, speech: Audio, spans: list[Span]
    ) -> Heard:
        known = _known(run, speech)
        so_far = list(known.segments)

        async def progress(segments: Sequence[Segment]) -> None:
            so_far.extend(later(segments[len(so_far) - len(known.segments) :], known.until_ms))
            state = HeardSoFar(speech_ms=speech.duration_ms, segments=so_far)
            await run.progress(_DECODED + (1 - _DECODED) * state.until_ms / max(1, speech.duration_ms))
            await run.checkpoint(state)

        async def do() -> Paid[Heard]:
            if speech.duration_ms - known.until_ms < _SHORTEST_MS:  # nothing is left but the answer
                return Paid(restored(Heard(language=None, segments=known.segments), spans), ZERO)
            listened = await self._transcriber.transcribe(rest(speech, known.until_ms), progress)
            found = listened.heard
            whole = Heard(language=found.language, segments=[*known.segments, *later(found.segments, known.until_ms)])
            return Paid(restored(whole, spans), tariff.cost(listened.use))

        # All of the sound is held, though only the speech in it is listened to. What is free is asked for too.
        tariff = self._transcriber.tariff
        hold = tariff.most(audio_ms=audio.duration_ms)
        model = self._transcriber.model
        return await run.call(0, Heard, model=model, hold=hold, do=do, local=plan.local)


def _known(run: Run, speech: Audio) -> HeardSoFar:
    """What an earlier try has heard of the same speech."""
    kept = run.resume(HeardSoFar)
    if kept is not None and kept.speech_ms == speech.duration_ms:
        return kept
    return HeardSoFar(speech_ms=speech.duration_ms, segments=[])
