"""The stage's handler: from media in the store to a transcript."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from millrace.contracts.events import Event, MediaReady, ResultEvent, Segment, TranscriptReady
from millrace.errors import Skipped
from millrace.models.choice import Models, asked_for
from millrace.money import ZERO, MicroUSD
from millrace.store.blobs import BlobStore
from millrace.store.media import lent
from millrace.store.transcripts import keep_large
from millrace.stream.stage import BACKEND_OPTION, MODEL_OPTION, Finished, Plan, Run, StageHandler
from services.transcribe_agent.domain import Audio, Span, TranscriptResult, is_silent
from services.transcribe_agent.listening import Cutting, Listener, StandBy
from services.transcribe_agent.ports import Decoder, SpeechDetector, Transcriber
from services.transcribe_agent.seams import joined
from services.transcribe_agent.speech import only_speech, restored

_READ, _DECODED = 0.05, 0.1  # shares of the progress display after which media is here, and its sound
_VERSION = 2
"""Of the way to a transcript: its change makes other work of the same media."""


class TranscribeHandler(StageHandler[MediaReady, TranscriptResult]):
    """Transcribes media.

    :param transcribers: the stage's own model, and others that commands may name.
    :param stand_by: who listens when the own model cannot, if anybody does.
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
        transcribers: Models[Transcriber],
        stand_by: StandBy | None = None,
        silent_db: float,
        pause_ms: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blobs = blobs
        self._decoder = decoder
        self._detector = detector
        self._transcribers = transcribers
        self._stand_by = stand_by
        self._silent_db = silent_db
        self._pause_ms = pause_ms
        self._clock = clock

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan[MediaReady] | None:
        """Media is transcribed; anything else is not for this stage."""
        if not isinstance(event, MediaReady):
            return None
        transcriber = asked_for(self._transcribers, options.get(MODEL_OPTION), options.get(BACKEND_OPTION))
        parameters = {
            "silent_db": self._silent_db,
            "pause_ms": self._pause_ms,
            "version": _VERSION,
            "backend": transcriber.backend,
        }
        listens = event.skipped_reason is None
        return Plan(event, event.sha256, transcriber.model, parameters, listens and transcriber.backend == "local")

    def most(self, plan: Plan[MediaReady]) -> MicroUSD:
        """Price of listening to the whole sound; pauses are taken out of that later."""
        media = plan.event
        return self._transcribers.of(plan.model).tariff.most(audio_ms=media.duration_ms) if media.has_audio else ZERO

    async def work(self, plan: Plan[MediaReady], run: Run) -> TranscriptResult:
        """Decode, leave out what is not speech, and let the model listen to the rest, chunk by chunk."""
        media = plan.event
        if media.skipped_reason is not None:
            return _caption(plan)
        if not media.has_audio:
            raise Skipped("no-audio")

        def read(done: int, of: int) -> Awaitable[None]:
            return run.progress(_READ * done / max(1, of))

        async with lent(self._blobs, media.blob_key, media.share_id, read) as path:
            audio = await self._decoder.decode(path)
        spans = await self._detector.spans(audio)
        if is_silent(audio, spans, silent_db=self._silent_db):
            raise Skipped("silent")
        await run.progress(_DECODED)
        return await self._listen(plan, run, audio, spans)

    def skipped(self, plan: Plan[MediaReady], reason: str) -> TranscriptResult:
        """No text, and the reason."""
        transcriber = self._transcribers.of(plan.model)
        return TranscriptResult(
            skipped_reason=reason,
            duration_ms=plan.event.duration_ms,
            backend=transcriber.backend,
            model=transcriber.model,
        )

    def event(self, plan: Plan[MediaReady], done: Finished[TranscriptResult]) -> ResultEvent:
        """`TranscriptReady` for the share, with its title."""
        return done.as_event(self.event_type, plan.event, title=plan.event.title)

    async def _listen(self, plan: Plan[MediaReady], run: Run, audio: Audio, spans: list[Span]) -> TranscriptResult:
        transcriber, speech = self._transcribers.of(plan.model), only_speech(audio, spans)
        listener = Listener(
            run,
            transcriber,
            self._stand_by if plan.local else None,
            audio,
            Cutting(spans=spans, chunks=transcriber.chunks(speech)),
            clock=self._clock,
        )
        heard = [await listener.hear(0)]  # which may say that the recording was cut otherwise before
        chunks, length_ms = listener.cutting.chunks, listener.speech.duration_ms
        for number in range(1, len(chunks)):
            await run.progress(_DECODED + (1 - _DECODED) * chunks[number].span.start_ms / length_ms)
            heard.append(await listener.hear(number))
        segments = await asyncio.to_thread(_whole, listener.cutting, [one.segments for one in heard])
        segments_ref = await keep_large(self._blobs, segments)
        billed = (
            chunk.sound.length_ms if one.billed_ms is None else one.billed_ms
            for chunk, one in zip(chunks, heard, strict=True)
        )
        backend, model = listener.used
        return TranscriptResult(
            language=next((one.language for one in heard if one.language), None),
            text=" ".join(segment.text for segment in segments),
            segments=segments if segments_ref is None else [],
            segments_ref=segments_ref,
            duration_ms=plan.event.duration_ms,
            billed_ms=sum(billed),
            backend=backend,
            model=model,
        )


def _whole(cutting: Cutting, heard: Sequence[Sequence[Segment]]) -> list[Segment]:
    """What was heard in all chunks, with the times of the recording."""
    return restored(joined(cutting.chunks, heard), cutting.spans)


def _caption(plan: Plan[MediaReady]) -> TranscriptResult:
    """What a page without a video says about itself: the next stages go on with that.

    :raises Skipped: it says nothing.
    """
    media = plan.event
    if not media.caption:
        raise Skipped(media.skipped_reason or "no-caption")
    return TranscriptResult(text=media.caption, duration_ms=0, backend="caption", model=plan.model)
