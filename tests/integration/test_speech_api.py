"""Transcription behind an API, over real HTTP and with real sound: the stand-in decodes what arrives."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import wave
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr

from millrace.contracts.events import Segment, Word
from millrace.errors import Outcome, Poison, Retryable, UnknownOutcome
from millrace.models.choice import Models
from millrace.models.openai_api import open_client
from millrace.models.tariffs import PerMinute
from millrace.store.blobs import LocalBlobStore
from millrace.store.transcripts import read_segments
from millrace.testing.media import JFK_WAV
from millrace.testing.run import FakeRun
from millrace.testing.samples import media_ready
from services.transcribe_agent.adapters.api import ApiTranscriber
from services.transcribe_agent.adapters.ffmpeg import FfmpegDecoder, encode_opus
from services.transcribe_agent.domain import Audio, Span, TranscriptResult
from services.transcribe_agent.handler import TranscribeHandler
from services.transcribe_agent.ports import Listened, Sound, SpeechDetector, Transcriber
from tests.support import tones
from tests.support.provider import DOLLARS_MINUTE, Provider, Way, serve_provider
from tests.support.uploads import Upload, uploaded


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serve_provider() as served:
        yield served


class Open(Protocol):
    def __call__(self, url: str, model: str = "whisper-1", timeout_s: float = 20.0) -> ApiTranscriber: ...


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    clients = []

    def make(url: str, model: str = "whisper-1", timeout_s: float = 20.0) -> ApiTranscriber:
        client = open_client(base_url=url, key=SecretStr("sk-1"), timeout_s=timeout_s)
        clients.append(client)
        return ApiTranscriber(client, model=model, tariff=PerMinute(DOLLARS_MINUTE))

    yield make
    for client in clients:
        await client.close()


async def jfk() -> Sound:
    return Sound(await FfmpegDecoder(max_media_s=60, timeout_s=20).decode(JFK_WAV))


async def heard_by(transcriber: ApiTranscriber, sound: Sound) -> Listened:
    return await transcriber.transcribe(await transcriber.ready(sound))


def sent(provider: Provider, number: int = -1) -> Upload:
    raw = provider.invoice[number].raw
    boundary = raw.removeprefix(b"--").partition(b"\r\n")[0].decode()
    return uploaded(f"multipart/form-data; boundary={boundary}", raw)


async def test_sound_is_sent_as_opus_of_16_khz_at_minus_16_lufs_and_asked_for_with_words(
    provider: Provider, opened: Open, tmp_path: Path
) -> None:
    listened = await heard_by(opened(provider.url), await jfk())
    upload = sent(provider)
    assert upload.file[:4] == b"OggS"
    assert b"OpusHead" in upload.file[:64]
    assert len(upload.file) < 60_000, "eleven seconds; OpenAI takes 25 MB for ten minutes"
    assert abs(upload.seconds - 11.0) < 0.1
    assert upload.fields == {
        "model": "whisper-1",
        "response_format": "verbose_json",
        "timestamp_granularities": "word,segment",
        "temperature": "0",
    }
    assert abs(await loudness(upload, tmp_path) - -16.0) < 0.5
    assert (listened.heard.language, listened.heard.billed_ms) == ("en", 11_000)


async def loudness(upload: Upload, folder: Path) -> float:
    path = folder / "sent.ogg"
    path.write_bytes(upload.file)
    audio = await FfmpegDecoder(max_media_s=60, timeout_s=20).decode(path)
    return -16.0 - audio.gain_db


@pytest.mark.parametrize("channels", ["stereo|c0=c0|c1=c0", "stereo|c0=c0|c1=0*c0"], ids=["both", "left only"])
async def test_two_channels_are_as_loud_as_one_once_they_are_mixed(channels: str, tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(JFK_WAV), "-af", f"pan={channels}"]
    await asyncio.to_thread(subprocess.run, [*command, str(path)], check=True)
    audio = await FfmpegDecoder(max_media_s=60, timeout_s=20).decode(path)
    sound = replace(Sound(audio), file=await encode_opus(audio))
    assert abs(await loudness(Upload({}, sound.file), tmp_path) - -16.0) < 0.5


async def test_words_are_put_into_their_segments_and_the_language_is_passed_on(
    provider: Provider, opened: Open
) -> None:
    provider.ears = lambda _: [{"word": f"w{n}", "start": n * 0.5, "end": n * 0.5 + 0.4} for n in range(12)]
    sound = await jfk()
    listened = await heard_by(opened(provider.url), Sound(sound.audio, language="de"))
    assert [len(segment.words or ()) for segment in listened.heard.segments] == [10, 2]
    assert (listened.heard.segments[1].words or [])[0] == Word(start_ms=5000, end_ms=5400, text="w10")
    assert sent(provider).fields["language"] == "de"


@pytest.mark.parametrize(
    ("status", "outcome", "sentence"),
    [
        (429, Retryable, "has no answer now"),
        (500, Retryable, "has no answer now"),
        (503, Retryable, "has no answer now"),
        (502, UnknownOutcome, "lost the answer"),
        (401, Retryable, "check OPENAI_API_KEY"),
        (400, Poison, "refuses this request"),
        (413, Poison, "refuses this request"),
        (404, Poison, "knows no model"),
    ],
)
async def test_a_refusal_says_what_was_paid_and_what_happens_next(
    provider: Provider, opened: Open, status: int, outcome: type[Outcome], sentence: str
) -> None:
    provider.ways.append(Way(status=status, retry_after_s=7))
    with pytest.raises(outcome, match=sentence) as failed:
        await heard_by(opened(provider.url), await jfk())
    assert provider.invoice == []
    if status == 429:
        assert cast("Retryable", failed.value).retry_after_s == 7


@pytest.mark.parametrize(
    "way", [Way(nonsense=True), Way(broken=True), Way(delay_s=3)], ids=["HTML", "cut off", "late"]
)
async def test_an_answer_that_was_billed_and_cannot_be_read_is_of_unknown_outcome(
    provider: Provider, opened: Open, way: Way
) -> None:
    provider.ways.append(way)
    with pytest.raises(UnknownOutcome):
        await heard_by(opened(provider.url, timeout_s=2.0), await jfk())
    assert len(provider.invoice) == 1


async def test_a_server_that_is_not_there_was_not_paid(opened: Open) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(Retryable, match="is its base URL right"):
            await heard_by(opened(url), await jfk())


@pytest.mark.parametrize("answer", [{}, {"text": 7}, [], None], ids=["empty", "no text", "a list", "null"])
async def test_an_answer_without_a_text_is_of_unknown_outcome(
    provider: Provider, opened: Open, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr("tests.support.provider._transcript", lambda *_: answer)
    with pytest.raises(UnknownOutcome, match="cannot be read"):
        await heard_by(opened(provider.url), await jfk())


@pytest.mark.parametrize(("usage", "billed_ms"), [({"seconds": 3}, 3000), ({}, 12_000)], ids=["counted", "not said"])
async def test_what_the_provider_counts_is_charged_or_else_what_was_sent(
    provider: Provider, opened: Open, monkeypatch: pytest.MonkeyPatch, usage: object, billed_ms: int
) -> None:
    segments = [{"start": 0.0, "end": 30.0, "text": " ask not "}]
    answer = {"text": "ask not", "segments": segments, "usage": usage}
    monkeypatch.setattr("tests.support.provider._transcript", lambda *_: answer)
    listened = await heard_by(opened(provider.url), await jfk())
    assert listened.heard.segments == [Segment(start_ms=0, end_ms=11_000, text="ask not")], "within the sound"
    assert (listened.heard.billed_ms, listened.use.audio_ms) == (billed_ms, billed_ms)


async def test_a_model_that_knows_no_times_is_asked_for_plain_text(provider: Provider, opened: Open) -> None:
    await heard_by(opened(provider.url, "gpt-4o-mini-transcribe"), await jfk())
    assert sent(provider).fields == {"model": "gpt-4o-mini-transcribe", "response_format": "json"}


class AllOfIt:
    """Takes all sound for speech, but for the pauses that it is told."""

    def __init__(self, spans: list[Span] | None = None) -> None:
        self._spans = spans

    async def spans(self, audio: Audio) -> list[Span]:
        return self._spans or [Span(0, audio.duration_ms)]


def ears(*, late_ms: int, least_ms: int) -> object:
    """Hears tones; every other call's times are late by so much, and the others' early."""
    calls = iter(range(1000))

    def hear(upload: Upload) -> list[Mapping[str, object]]:
        shift = late_ms / 1000 if next(calls) % 2 else -late_ms / 1000
        return [
            {"word": f"w{number}", "start": max(0, start / 1000 + shift), "end": max(0, end / 1000 + shift)}
            for number, start, end in tones.heard(upload.samples, least_ms=least_ms)
        ]

    return hear


async def transcribed(
    folder: Path, sound: NDArray[np.int16], transcriber: Transcriber, detector: SpeechDetector
) -> tuple[TranscriptResult, FakeRun]:
    path = folder / "long.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(tones.RATE)
        out.writeframes(sound.tobytes())
    store = LocalBlobStore(folder / "store")
    await store.put_file("media/long.wav", path)
    handler = TranscribeHandler(
        blobs=store,
        decoder=FfmpegDecoder(max_media_s=1800, timeout_s=60),
        detector=detector,
        transcribers=Models(transcriber.model, transcriber),
        silent_db=-50.0,
        pause_ms=300,
    )
    duration_ms = len(sound) * 1000 // tones.RATE
    plan = handler.plan(media_ready(blob_key="media/long.wav", duration_ms=duration_ms), {})
    assert plan is not None
    run = FakeRun()
    return await handler.work(plan, run), run


@pytest.mark.parametrize(("late_ms", "least_ms"), [(120, 120), (150, 280)])
async def test_of_25_minutes_no_word_is_lost_or_doubled_and_times_are_right_at_every_seam(
    provider: Provider, opened: Open, tmp_path: Path, late_ms: int, least_ms: int
) -> None:
    numbers = [n * 7 % 4096 for n in range(25 * 60 * 1000 // (tones.WORD_MS + tones.GAP_MS))]
    provider.ears = ears(late_ms=late_ms, least_ms=least_ms)  # type: ignore[assignment]
    sound = await asyncio.to_thread(tones.spoken, numbers)
    result, run = await transcribed(tmp_path, sound, opened(provider.url), AllOfIt())
    words = [
        word for segment in result.segments or await segments_of(tmp_path, result) for word in segment.words or ()
    ]
    assert [int(word.text[1:]) for word in words] == numbers
    starts = np.arange(len(numbers)) * (tones.WORD_MS + tones.GAP_MS)
    assert np.abs(np.array([word.start_ms for word in words]) - starts).max() < 300
    assert len(provider.invoice) == 3
    assert sum(line.micro_usd for line in provider.invoice) == run.cost
    assert all(line.seconds <= 600 for line in provider.invoice)
    assert result.text.split() == [f"w{number}" for number in numbers]


async def segments_of(folder: Path, result: TranscriptResult) -> list[Segment]:
    if result.segments_ref is None:
        return result.segments
    return await read_segments(LocalBlobStore(folder / "store"), result.segments_ref)


async def test_chunks_meet_in_pauses_where_there_are_any_and_times_are_those_of_the_recording(
    provider: Provider, opened: Open, tmp_path: Path
) -> None:
    numbers = list(range(3600))
    stretch = (tones.WORD_MS + tones.GAP_MS) * 100
    spans, at = [], 0
    pieces: list[NDArray[np.int16]] = []
    for first in range(0, len(numbers), 100):
        piece = tones.spoken(numbers[first : first + 100])
        pause = np.zeros((900 if first % 1000 else 2500) * tones.RATE // 1000, dtype="<i2")
        spans.append(Span(at, at + stretch))
        at += stretch + len(pause) * 1000 // tones.RATE
        pieces += [piece, pause]
    provider.ears = ears(late_ms=0, least_ms=40)  # type: ignore[assignment]
    result, _ = await transcribed(tmp_path, np.concatenate(pieces), opened(provider.url), AllOfIt(spans))
    words = [word for segment in await segments_of(tmp_path, result) for word in segment.words or ()]
    assert [int(word.text[1:]) for word in words] == numbers
    expected = [span.start_ms + n * (tones.WORD_MS + tones.GAP_MS) for span in spans for n in range(100)]
    assert np.abs(np.array([word.start_ms for word in words]) - np.array(expected)).max() < 60
    assert result.billed_ms < at - 30_000, "pauses are not billed"
