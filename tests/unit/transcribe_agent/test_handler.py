from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from millrace.contracts.events import MediaReady, Segment, TranscriptReady
from millrace.errors import Denied, OutOfMemory, Poison, Retryable, Skipped
from millrace.models.choice import Models
from millrace.models.port import Backend, Tariff, Use
from millrace.models.tariffs import PerMinute, PerSecond
from millrace.money import MicroUSD
from millrace.store import transcripts
from millrace.store.blobs import BlobMissing, LocalBlobStore
from millrace.stream.stage import BACKEND_OPTION, MODEL_OPTION, Finished, Plan, StageHandler
from millrace.testing.run import FakeRun
from millrace.testing.samples import NOW, media_ready, share_created
from services.transcribe_agent.chunks import Chunk
from services.transcribe_agent.domain import Audio, Heard, Span, TranscriptResult
from services.transcribe_agent.handler import TranscribeHandler
from services.transcribe_agent.listening import StandBy
from services.transcribe_agent.ports import Listened, Sound, Transcriber
from services.transcribe_agent.speech import Speech

SECOND = b"\0\1" * 16_000


class FakeDecoder:
    def __init__(self, audio: Audio | Exception) -> None:
        self.audio = audio
        self.seen: list[bytes] = []

    async def decode(self, path: Path) -> Audio:
        self.seen.append(await asyncio.to_thread(path.read_bytes))
        if isinstance(self.audio, Exception):
            raise self.audio
        return self.audio


class FakeDetector:
    def __init__(self, found: list[Span]) -> None:
        self.found = found

    async def spans(self, audio: Audio) -> list[Span]:
        return self.found


class FakeTranscriber:
    """Hears a word in every second; cuts speech into pieces of two seconds."""

    def __init__(self, backend: Backend = "local", model: str = "fake") -> None:
        self.backend: Backend = backend
        self.model = model
        self.listened: list[Sound] = []
        self.within_s: list[float | None] = []
        self.raises: list[Exception | None] = []
        self.tariff: Tariff = PerSecond(Decimal(0))
        self.language: str | None = "en"
        self.hears: list[Segment] = []
        self.size_ms = 2000

    async def ready(self, sound: Sound) -> Sound:
        return replace(sound, file=b"ready")

    def chunks(self, speech: Speech) -> list[Chunk]:
        spans = (
            Span(at, min(at + self.size_ms, speech.duration_ms)) for at in range(0, speech.duration_ms, self.size_ms)
        )
        return [Chunk(span, span, (span,)) for span in spans]

    async def transcribe(self, sound: Sound, *, within_s: float | None = None) -> Listened:
        assert sound.file == b"ready"
        self.listened.append(sound)
        self.within_s.append(within_s)
        if self.raises and (error := self.raises.pop(0)) is not None:
            raise error
        ms = sound.audio.duration_ms
        heard = self.hears or [Segment(start_ms=0, end_ms=ms, text=f"{self.model} {len(self.listened)}")]
        return Listened(Heard(language=self.language, segments=heard), Use(seconds=2.5, audio_ms=ms))


class Bench:
    """A handler with fakes around it: ten seconds of sound with four of speech."""

    def __init__(self, folder: Path, *, tariff: Tariff | None = None, loudest_db: float = -20.0) -> None:
        self.store = LocalBlobStore(folder)
        self.decoder = FakeDecoder(Audio(SECOND * 10, loudest_db))
        self.detector = FakeDetector([Span(1000, 3000), Span(6000, 8000)])
        self.transcriber = FakeTranscriber()
        self.transcriber.tariff = tariff or self.transcriber.tariff
        self.api = FakeTranscriber("api", "cloud")
        self.api.tariff = PerMinute(Decimal("0.006"))
        self.stands_by = False
        self.run = FakeRun()

    @property
    def handler(self) -> StageHandler[MediaReady, TranscriptResult]:
        return TranscribeHandler(
            blobs=self.store,
            decoder=self.decoder,
            detector=self.detector,
            transcribers=Models[Transcriber](self.transcriber.model, self.transcriber),
            stand_by=StandBy(self.api, 2.0) if self.stands_by else None,
            silent_db=-50.0,
            pause_ms=300,
            clock=lambda: float(len(self.transcriber.listened)),
        )

    def plan(self, event: MediaReady | None = None) -> Plan[MediaReady]:
        plan = self.handler.plan(event or media_ready(), {})
        assert plan is not None
        return plan

    async def work(self, event: MediaReady | None = None) -> TranscriptResult:
        await self.store.put_bytes("media/clip.mp4", b"mp4")
        return await self.handler.work(self.plan(event), self.run)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_speech_is_transcribed_with_the_times_of_the_media(bench: Bench) -> None:
    result = await bench.work()
    assert bench.decoder.seen == [b"mp4"]
    assert [sound.audio.duration_ms for sound in bench.transcriber.listened] == [2000, 2000]
    assert result.text == "fake 1 fake 2"
    assert [(s.start_ms, s.end_ms) for s in result.segments] == [(1000, 3000), (6000, 8000)]
    assert (result.duration_ms, result.billed_ms) == (10_000, 4000)
    assert (result.language, result.backend, result.model) == ("en", "local", "fake")
    assert bench.run.progressed[-2:] == [0.1, pytest.approx(0.55)]


async def test_a_later_chunk_is_heard_in_the_language_of_the_first(bench: Bench) -> None:
    await bench.work()
    assert [sound.language for sound in bench.transcriber.listened] == [None, "en"]


async def test_clips_are_told_in_the_times_of_what_is_sent(bench: Bench) -> None:
    await bench.work()
    assert [sound.clips for sound in bench.transcriber.listened] == [(Span(0, 2000),), (Span(0, 2000),)]


async def test_a_try_that_was_cut_off_goes_on_with_the_first_chunk_that_is_missing(bench: Bench) -> None:
    bench.transcriber.raises = [None, Retryable("killed")]
    with pytest.raises(Retryable):
        await bench.work()
    bench.run = FakeRun(paid=bench.run.paid)
    result = await bench.work()
    assert result.text == "fake 1 fake 3", "the first chunk is not heard again"
    assert [call.call_no for call in bench.run.calls] == [2]


async def test_who_goes_on_cuts_as_the_first_attempt_has(bench: Bench) -> None:
    """With another batch, or another version of the detector: kept answers are about what was cut then."""
    bench.transcriber.raises = [None, Retryable("killed")]
    with pytest.raises(Retryable):
        await bench.work()
    bench.run = FakeRun(paid=bench.run.paid)
    bench.transcriber.size_ms = 1000
    bench.detector.found = [Span(900, 3100), Span(6000, 8000)]
    result = await bench.work()
    assert [(s.start_ms, s.end_ms) for s in result.segments] == [(1000, 3000), (6000, 8000)]
    assert [sound.audio.duration_ms for sound in bench.transcriber.listened] == [2000, 2000, 2000]


async def test_what_an_api_was_paid_for_is_used_when_none_stands_by_any_more(bench: Bench) -> None:
    bench.stands_by = True
    bench.transcriber.size_ms = 4000
    bench.transcriber.raises = [OutOfMemory("too large")]
    first = await bench.work()
    bench.stands_by = False
    bench.run = FakeRun(paid=bench.run.paid)
    assert await bench.work() == first
    assert (first.text, first.backend, first.model) == ("cloud 1", "api", "cloud")
    assert bench.run.calls == []


async def test_a_local_model_is_charged_for_the_seconds_it_worked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tariff=PerSecond(Decimal("0.0001")))
    await bench.work()
    assert [(call.call_no, call.hold, call.cost) for call in bench.run.calls] == [(0, 300, 250), (2, 300, 250)]


async def test_by_the_minute_only_speech_is_held_and_charged(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tariff=PerMinute(Decimal("0.006")))
    await bench.work()
    assert [(call.hold, call.cost) for call in bench.run.calls] == [(200, 200), (200, 200)]


@pytest.mark.parametrize("claimed_ms", [1, 7_200_000])
async def test_a_header_that_lies_about_its_length_changes_nothing_that_is_held(
    tmp_path: Path, claimed_ms: int
) -> None:
    bench = Bench(tmp_path, tariff=PerMinute(Decimal("0.006")))
    await bench.work(media_ready(duration_ms=claimed_ms))
    assert [(call.hold, call.cost) for call in bench.run.calls] == [(200, 200), (200, 200)]


async def test_a_free_local_call_is_asked_for_too(bench: Bench) -> None:
    await bench.work()
    assert [(call.hold, call.cost) for call in bench.run.calls] == [(0, 0), (0, 0)]


async def test_denied_money_means_that_nobody_listened(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tariff=PerMinute(Decimal("0.006")))
    bench.run = FakeRun(cap=MicroUSD(199))
    with pytest.raises(Denied):
        await bench.work()
    assert bench.transcriber.listened == []


async def test_what_was_paid_for_is_not_listened_to_again(bench: Bench) -> None:
    first = await bench.work()
    bench.run = FakeRun(paid=bench.run.paid)
    assert await bench.work() == first
    assert len(bench.transcriber.listened) == 2


FAILURES = [TimeoutError(), OutOfMemory("the model fake needs more memory than it may have")]


@pytest.mark.parametrize("failure", FAILURES, ids=["too slow", "out of memory"])
async def test_what_the_local_model_cannot_is_heard_by_the_api_within_the_same_work(
    bench: Bench, failure: Exception
) -> None:
    bench.stands_by = True
    bench.transcriber.raises = [None, failure]
    result = await bench.work()
    assert result.text == "fake 1 cloud 1"
    assert [(call.call_no, call.model, call.cost) for call in bench.run.calls] == [
        (0, "fake", 0),
        (2, "fake", 0),
        (3, "cloud", 200),
    ]
    assert bench.run.calls[-1].hold == 300, "a begun second more, if the provider goes by what the file says"
    assert (result.backend, result.model) == ("api", "cloud")


async def test_a_model_that_gave_up_is_not_asked_again_for_what_follows_or_by_a_later_try(bench: Bench) -> None:
    bench.stands_by = True
    bench.transcriber.raises = [OutOfMemory("too large")]
    bench.api.raises = [None, Retryable("busy")]
    with pytest.raises(Retryable):
        await bench.work()
    bench.run = FakeRun(paid=bench.run.paid)
    result = await bench.work()
    assert result.text == "cloud 1 cloud 3"
    assert len(bench.transcriber.listened) == 1
    assert [call.call_no for call in bench.run.calls] == [3]


async def test_a_local_model_has_half_a_second_for_a_second_of_sound_and_money_is_held_for_all_of_it(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, tariff=PerSecond(Decimal("0.0001")))
    bench.stands_by = True
    bench.decoder = FakeDecoder(Audio(SECOND * 10, -20.0))
    await bench.work()
    assert bench.transcriber.within_s == [10.0, 10.0], "and never less than it takes to warm up"
    assert [call.hold for call in bench.run.calls] == [1000, 1000]


async def test_the_seconds_of_a_model_that_gave_up_are_charged(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tariff=PerSecond(Decimal("0.0001")))
    bench.stands_by = True
    bench.transcriber.raises = [TimeoutError()]
    await bench.work()
    assert bench.run.calls[0].cost == 100


@pytest.mark.parametrize("failure", FAILURES, ids=["too slow", "out of memory"])
async def test_without_an_api_a_failure_of_the_local_model_is_its_own(bench: Bench, failure: Exception) -> None:
    bench.transcriber.raises = [failure]
    with pytest.raises(type(failure)):
        await bench.work()
    assert bench.transcriber.within_s == [None]
    assert bench.run.paid == {}


async def test_when_no_api_stands_by_any_more_the_sentence_says_what_to_do(bench: Bench) -> None:
    bench.stands_by = True
    bench.transcriber.raises = [OutOfMemory("too large")]
    bench.api.raises = [Retryable("busy")]
    with pytest.raises(Retryable):
        await bench.work()
    bench.stands_by = False
    with pytest.raises(Poison, match="replay with --force"):
        await bench.work()


async def test_media_without_sound_is_skipped_unread(bench: Bench) -> None:
    with pytest.raises(Skipped, match="no-audio"):
        await bench.work(media_ready(has_audio=False))
    assert bench.decoder.seen == []
    assert bench.run.calls == []


async def test_the_caption_of_a_page_without_a_video_stands_for_its_words(bench: Bench) -> None:
    page = media_ready(
        blob_key="", duration_ms=0, has_audio=False, has_video=False, skipped_reason="no-video", caption="About mills"
    )
    result = await bench.work(page)
    assert (result.text, result.backend, result.billed_ms, result.duration_ms) == ("About mills", "caption", 0, 0)
    assert result.skipped_reason is None
    assert (bench.run.calls, bench.decoder.seen) == ([], [])
    bench.transcriber.backend = "local"
    assert bench.plan().local
    assert not bench.plan(page).local, "no model of this machine is needed"
    plan = bench.plan(page)
    event = bench.handler.event(plan, Finished(plan.work_key("transcribe"), result, MicroUSD(0), NOW))
    assert isinstance(event, TranscriptReady)
    with pytest.raises(Skipped, match="no-video"):
        await bench.work(page.model_copy(update={"caption": None}))


@pytest.mark.parametrize(("loudest_db", "speech"), [(-60.0, [Span(0, 1000)]), (-20.0, [])])
async def test_silent_media_buys_nothing(tmp_path: Path, loudest_db: float, speech: list[Span]) -> None:
    bench = Bench(tmp_path, loudest_db=loudest_db)
    bench.detector.found = speech
    with pytest.raises(Skipped, match="silent"):
        await bench.work()
    assert bench.run.calls == []


async def test_a_skip_becomes_an_event_without_invented_text(bench: Bench) -> None:
    plan = bench.plan()
    result = bench.handler.skipped(plan, "silent")
    event = bench.handler.event(plan, Finished(plan.work_key("transcribe"), result, MicroUSD(0), NOW))
    assert isinstance(event, TranscriptReady)
    assert (event.skipped_reason, event.text, event.segments, event.billed_ms) == ("silent", "", [], 0)


@pytest.mark.parametrize("error", [Poison("damaged"), Retryable("killed")])
async def test_a_decoder_says_by_its_error_what_happens_next(bench: Bench, error: Exception) -> None:
    bench.decoder.audio = error
    with pytest.raises(type(error)):
        await bench.work()
    assert bench.run.calls == []


async def test_media_that_is_gone_is_poison(bench: Bench) -> None:
    with pytest.raises(BlobMissing):
        await bench.work(media_ready(blob_key="media/other.mp4"))


async def test_media_that_has_expired_says_how_to_get_it_back(bench: Bench) -> None:
    with pytest.raises(
        BlobMissing, match=r"expired: .* `millrace replay media --share share-1 --force`, then .* or share it"
    ):
        await bench.work(media_ready(blob_key="temp/videos/2026/11/01/gone-1.mp4"))


async def test_large_segments_go_to_the_media_store(bench: Bench) -> None:
    many = [Segment(start_ms=n, end_ms=n + 1, text="word " * 100) for n in range(0, 4000, 2)]
    bench.transcriber.hears = many
    result = await bench.work()
    assert result.segments == []
    assert result.segments_ref is not None
    kept = await transcripts.read_segments(bench.store, result.segments_ref)
    assert len(kept) == 2 * len(many)
    assert result.text.startswith("word word")


def test_the_same_media_with_the_same_model_is_the_same_work_whoever_shares_it(bench: Bench) -> None:
    one, other = bench.plan(), bench.plan(media_ready(share_id="share-2", account="other", title=None))
    assert one.work_key("transcribe") == other.work_key("transcribe")
    bench.transcriber.model = "another"
    assert bench.plan().work_key("transcribe") != one.work_key("transcribe")


def test_a_command_for_a_model_that_is_not_here_is_refused_and_not_done_by_another(bench: Bench) -> None:
    assert bench.handler.plan(media_ready(), {MODEL_OPTION: "fake"}) == bench.plan()
    with pytest.raises(Poison, match="only the model fake is here, not large"):
        bench.handler.plan(media_ready(), {MODEL_OPTION: "large"})
    assert bench.handler.plan(media_ready(), {BACKEND_OPTION: "local"}) == bench.plan()
    with pytest.raises(Poison, match="no model with the backend api"):
        bench.handler.plan(media_ready(), {BACKEND_OPTION: "api"})


def test_the_event_is_about_this_share_and_says_what_the_work_cost(bench: Bench) -> None:
    plan = bench.plan(media_ready(share_id="share-2"))
    result = TranscriptResult(text="ask not", duration_ms=1, billed_ms=1, backend="local", model="fake")
    event = bench.handler.event(plan, Finished(plan.work_key("transcribe"), result, MicroUSD(7), NOW))
    assert isinstance(event, TranscriptReady)
    assert (event.share_id, event.account, event.title, event.text) == ("share-2", "acme", "A speech", "ask not")
    assert (event.cost_micro_usd, event.work_key, event.produced_at) == (7, plan.work_key("transcribe"), NOW)


def test_other_events_are_not_for_this_stage(bench: Bench) -> None:
    assert bench.handler.plan(share_created(text="words"), {}) is None
