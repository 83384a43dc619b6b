from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from millrace.contracts.events import MediaReady, Segment, TranscriptReady, Word
from millrace.errors import Denied, Poison, Retryable, Skipped
from millrace.models.port import Tariff, Use
from millrace.models.tariffs import PerMinute, PerSecond
from millrace.money import MicroUSD
from millrace.store import transcripts
from millrace.store.blobs import BlobMissing, LocalBlobStore
from millrace.stream.stage import MODEL_OPTION, Finished, Plan, StageHandler
from millrace.testing.run import FakeRun
from millrace.testing.samples import NOW, media_ready, share_created
from services.transcribe_agent.domain import Audio, Backend, Heard, Span, TranscriptResult
from services.transcribe_agent.handler import TranscribeHandler
from services.transcribe_agent.ports import Listened, Progress

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
    backend: Backend = "local"
    model = "fake"

    def __init__(self, heard: Heard | Exception) -> None:
        self.heard = heard
        self.listened_ms: list[int] = []
        self.dies_after = 0
        self.tariff: Tariff = PerSecond(Decimal(0))

    async def transcribe(self, speech: Audio, progress: Progress) -> Listened:
        self.listened_ms.append(speech.duration_ms)
        if isinstance(self.heard, Exception):
            raise self.heard
        for heard in range(len(self.heard.segments)):
            await progress(self.heard.segments[: heard + 1])
            if self.dies_after == heard + 1:
                raise KeyboardInterrupt
        return Listened(self.heard, Use(seconds=2.5, audio_ms=speech.duration_ms))


HEARD = Heard(
    language="en",
    segments=[
        Segment(start_ms=0, end_ms=2000, text="ask not"),
        Segment(start_ms=2000, end_ms=4000, text="what your"),
    ],
)


class Bench:
    """A handler with fakes around it: ten seconds of sound with four of speech."""

    def __init__(self, folder: Path, *, tariff: Tariff | None = None, loudest_db: float = -20.0) -> None:
        self.store = LocalBlobStore(folder)
        self.decoder = FakeDecoder(Audio(SECOND * 10, loudest_db))
        self.detector = FakeDetector([Span(1000, 3000), Span(6000, 8000)])
        self.transcriber = FakeTranscriber(HEARD)
        self.transcriber.tariff = tariff or self.transcriber.tariff
        self.run = FakeRun()

    @property
    def handler(self) -> StageHandler[MediaReady, TranscriptResult]:
        return TranscribeHandler(
            blobs=self.store,
            decoder=self.decoder,
            detector=self.detector,
            transcriber=self.transcriber,
            silent_db=-50.0,
            pause_ms=300,
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


async def test_a_try_that_was_cut_off_is_gone_on_with_where_it_was(bench: Bench) -> None:
    bench.transcriber.dies_after = 1
    with pytest.raises(KeyboardInterrupt):
        await bench.work()
    bench.transcriber.dies_after = 0
    bench.transcriber.heard = Heard(
        language="en",
        segments=[
            Segment(start_ms=0, end_ms=2000, text="what your", words=[Word(start_ms=0, end_ms=900, text="what")])
        ],
    )
    bench.run = FakeRun(kept=bench.run.kept)
    result = await bench.work()
    assert bench.transcriber.listened_ms == [4000, 2000], "the two seconds that were heard are not heard again"
    assert result.text == "ask not what your"
    assert [(s.start_ms, s.end_ms) for s in result.segments] == [(1000, 3000), (6000, 8000)]
    assert [(w.start_ms, w.end_ms) for w in result.segments[1].words or ()] == [(6000, 6900)]
    assert bench.run.progressed[-1] == 1


async def test_a_try_that_had_heard_all_is_not_gone_on_with(bench: Bench) -> None:
    bench.transcriber.dies_after = 2
    with pytest.raises(KeyboardInterrupt):
        await bench.work()
    result = await bench.work()
    assert (bench.transcriber.listened_ms, result.text) == ([4000], "ask not what your")
    assert bench.run.cost == 0


async def test_what_was_heard_of_other_speech_counts_for_nothing(bench: Bench) -> None:
    bench.transcriber.dies_after = 1
    with pytest.raises(KeyboardInterrupt):
        await bench.work()
    bench.transcriber.dies_after = 0
    bench.detector.found = [Span(1000, 2500), Span(6000, 8000)]
    await bench.work()
    assert bench.transcriber.listened_ms == [4000, 3500]


async def test_speech_is_transcribed_with_the_times_of_the_media_ready(bench: Bench) -> None:
    result = await bench.work()
    assert bench.decoder.seen == [b"mp4"]
    assert bench.transcriber.listened_ms == [4000]
    assert result.text == "ask not what your"
    assert [(s.start_ms, s.end_ms) for s in result.segments] == [(1000, 3000), (6000, 8000)]
    assert (result.duration_ms, result.billed_ms) == (10_000, 4000)
    assert (result.language, result.backend, result.model) == ("en", "local", "fake")
    assert bench.run.progressed == sorted(bench.run.progressed)
    assert 0 < bench.run.progressed[-1] <= 1


async def test_a_local_model_is_charged_for_the_seconds_it_worked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tariff=PerSecond(Decimal("0.0001")))
    await bench.work()
    (call,) = bench.run.calls
    assert (call.call_no, call.hold, call.cost) == (0, MicroUSD(1100), MicroUSD(250))


async def test_by_the_minute_all_sound_is_held_and_only_speech_is_charged(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tariff=PerMinute(Decimal("0.006")))
    await bench.work()
    (call,) = bench.run.calls
    assert (call.hold, call.cost) == (MicroUSD(1000), MicroUSD(400))


async def test_a_free_local_call_is_asked_for_too(bench: Bench) -> None:
    await bench.work()
    (call,) = bench.run.calls
    assert (call.hold, call.cost) == (0, 0)


async def test_denied_money_means_that_nobody_listened(tmp_path: Path) -> None:
    bench = Bench(tmp_path, tariff=PerMinute(Decimal("0.006")))
    bench.run = FakeRun(cap=MicroUSD(999))
    with pytest.raises(Denied):
        await bench.work()
    assert bench.transcriber.listened_ms == []


async def test_what_was_paid_for_is_not_listened_to_again(bench: Bench) -> None:
    first = await bench.work()
    bench.run = FakeRun(paid=bench.run.paid)
    assert await bench.work() == first
    assert len(bench.transcriber.listened_ms) == 1


async def test_media_without_sound_is_skipped_unread(bench: Bench) -> None:
    with pytest.raises(Skipped, match="no-audio"):
        await bench.work(media_ready(has_audio=False))
    assert bench.decoder.seen == []
    assert bench.run.calls == []


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
    bench.transcriber.heard = Heard(language="en", segments=many)
    result = await bench.work()
    assert result.segments == []
    assert result.segments_ref is not None
    kept = await transcripts.read_segments(bench.store, result.segments_ref)
    assert len(kept) == len(many)
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


def test_the_event_is_about_this_share_and_says_what_the_work_cost(bench: Bench) -> None:
    plan = bench.plan(media_ready(share_id="share-2"))
    result = TranscriptResult(text="ask not", duration_ms=1, billed_ms=1, backend="local", model="fake")
    event = bench.handler.event(plan, Finished(plan.work_key("transcribe"), result, MicroUSD(7), NOW))
    assert isinstance(event, TranscriptReady)
    assert (event.share_id, event.account, event.title, event.text) == ("share-2", "acme", "A speech", "ask not")
    assert (event.cost_micro_usd, event.work_key, event.produced_at) == (7, plan.work_key("transcribe"), NOW)


def test_other_events_are_not_for_this_stage(bench: Bench) -> None:
    assert bench.handler.plan(share_created(text="words"), {}) is None
