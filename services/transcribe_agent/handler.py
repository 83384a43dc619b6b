"""The stage's handler: from media in the store to a transcript."""

from __future__ import annotations

from collections.abc import Mapping

from millrace.contracts.events import Event, MediaReady, ShareEvent, TranscriptReady
from millrace.errors import Poison, Skipped
from millrace.store.blobs import BlobStore
from millrace.store.transcripts import keep_large
from millrace.stream.stage import Finished, Paid, Plan, Run
from services.transcribe_agent.domain import (
    Audio,
    Heard,
    Span,
    TranscriptResult,
    is_silent,
    only_speech,
    restored,
)
from services.transcribe_agent.ports import Decoder, SpeechDetector, Transcriber

_DECODED = 0.1  # share of the progress display that decoding takes


class TranscribeHandler:
    """Transcribes media; implements `StageHandler`.

    :param silent_db: media whose loudest second is below this level buys nothing.
    :param pause_ms: the pauses that `detector` leaves out; it changes the result, so it is part of the work key.
    """

    result_type = TranscriptResult

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
        self._silent_db = silent_db
        self._pause_ms = pause_ms

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan | None:  # noqa: ARG002 - no options yet
        """Media is transcribed; anything else is not for this stage."""
        if not isinstance(event, MediaReady):
            return None
        parameters = {"silent_db": self._silent_db, "pause_ms": self._pause_ms}
        local = self._transcriber.backend == "local"
        return Plan(event, event.sha256, self._transcriber.model, parameters, local)

    async def work(self, plan: Plan, run: Run) -> TranscriptResult:
        """Decode, leave out what is not speech, and let the model listen to the rest."""
        media = _media(plan)
        if not media.has_audio:
            raise Skipped("no-audio")
        async with self._blobs.local_copy(media.blob_key) as path:
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

    def skipped(self, plan: Plan, reason: str) -> TranscriptResult:
        """No text, and the reason."""
        return TranscriptResult(
            skipped_reason=reason,
            duration_ms=_media(plan).duration_ms,
            backend=self._transcriber.backend,
            model=plan.model,
        )

    def event(self, plan: Plan, done: Finished[TranscriptResult]) -> ShareEvent:
        """`TranscriptReady` for the share."""
        media, result = _media(plan), done.result
        return TranscriptReady(
            share_id=media.share_id,
            account=media.account,
            skipped_reason=result.skipped_reason,
            language=result.language,
            text=result.text,
            segments=result.segments,
            segments_ref=result.segments_ref,
            duration_ms=result.duration_ms,
            billed_ms=result.billed_ms,
            title=media.title,
            backend=result.backend,
            model=result.model,
            cost_micro_usd=done.cost,
            work_key=done.work_key,
            produced_at=done.finished_at,
        )

    async def _listen(self, plan: Plan, run: Run, audio: Audio, speech: Audio, spans: list[Span]) -> Heard:
        async def progress(fraction: float) -> None:
            await run.progress(_DECODED + (1 - _DECODED) * fraction)

        async def do() -> Paid[Heard]:
            listened = await self._transcriber.transcribe(speech, progress)
            return Paid(restored(listened.heard, spans), tariff.cost(listened.use))

        # All of the sound is held, though only the speech in it is listened to. What is free is asked for too.
        tariff = self._transcriber.tariff
        hold = tariff.most(audio_ms=audio.duration_ms)
        model = self._transcriber.model
        return await run.call(0, Heard, model=model, hold=hold, do=do, local=plan.local)


def _media(plan: Plan) -> MediaReady:
    if not isinstance(plan.event, MediaReady):
        raise Poison(f"{type(plan.event).__name__} is not media that can be transcribed")
    return plan.event
