"""The bundled models and ffmpeg, for real."""

from __future__ import annotations

import wave
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import cast

import jiwer
import numpy as np
import pytest
from numpy.typing import NDArray

from millrace.errors import ConfigurationError, Poison, Retryable, Skipped
from millrace.models import wordllama
from millrace.models.child.pool import Care, open_children
from millrace.models.port import EmbeddingModel
from millrace.models.wordllama import WordLlamaChildren, WordLlamaModel
from millrace.money import MicroUSD
from millrace.store.blobs import LocalBlobStore
from millrace.store.database import Database
from millrace.stream.connect import Resources
from millrace.testing.media import JFK_WAV
from millrace.testing.run import FakeRun
from millrace.testing.samples import media_ready
from services.summarize_agent.adapters import extractive
from services.summarize_agent.adapters.extractive import ExtractiveSummarizer
from services.summarize_agent.domain import Task
from services.transcribe_agent.adapters.whisper import WhisperTranscriber, whisper_recipe
from services.transcribe_agent.build import build_handler
from services.transcribe_agent.domain import Audio, TranscriptResult
from services.transcribe_agent.handler import TranscribeHandler
from services.transcribe_agent.ports import Sound
from services.transcribe_agent.settings import TranscribeSettings

PHRASE = "ask not what your country can do for you"
SAID = f"And so, my fellow Americans, {PHRASE}; ask what you can do for your country."
RATE = 16_000


def jfk() -> NDArray[np.int16]:
    with wave.open(str(JFK_WAV)) as speech:
        return np.frombuffer(speech.readframes(speech.getnframes()), dtype="<i2")


def silence(seconds: float) -> NDArray[np.int16]:
    return np.zeros(int(seconds * RATE), dtype="<i2")


def noise(seconds: float, level: int) -> NDArray[np.int16]:
    return np.random.default_rng(7).integers(-level, level, int(seconds * RATE)).astype("<i2")


def wav(path: Path, *sound: NDArray[np.int16]) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(np.concatenate(sound).tobytes())
    return path


def tones(seconds: float, *hertz: float, beat_hz: float = 2.0) -> NDArray[np.int16]:
    """A chord that comes and goes, as music does."""
    at = np.arange(int(seconds * RATE)) / RATE
    chord = np.sum([np.sin(2 * np.pi * one * at) for one in hertz], axis=0) / len(hertz)
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * beat_hz * at)
    sound: NDArray[np.int16] = np.rint(12_000 * chord * swell).astype(np.int16)
    return sound


def melody(seconds: float) -> NDArray[np.int16]:
    """Plucked notes of a scale, four a second."""
    at = np.arange(int(seconds * RATE)) / RATE
    steps = np.array([0, 2, 4, 5, 7, 9, 11, 12])[(at * 4).astype(int) % 8]
    phase = 2 * np.pi * np.cumsum(220 * 2 ** (steps / 12)) / RATE
    plucked = sum(np.sin(n * phase) / n for n in range(1, 6)) * np.exp(-4 * (at * 4 % 1) / 4)
    sound: NDArray[np.int16] = np.rint(8000 * plucked).astype(np.int16)
    return sound


def words(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalpha() or c == " ")


class Transcribing:
    def __init__(self, handler: TranscribeHandler, store: LocalBlobStore) -> None:
        self.handler = handler
        self.store = store
        self.run = FakeRun()

    async def of(self, path: Path) -> TranscriptResult:
        await self.store.put_file("media/it", path)
        plan = self.handler.plan(media_ready(blob_key="media/it"), {})
        assert plan is not None
        self.run = FakeRun()
        return await self.handler.work(plan, self.run)


@pytest.fixture
async def transcribing(tmp_path: Path) -> AsyncIterator[Transcribing]:
    settings = TranscribeSettings.model_validate(
        {"kafka": "-", "registry": "-", "postgres": "-", "blobs": tmp_path, "transcribe_price_per_second": "0.001"}
    )
    store = LocalBlobStore(tmp_path)
    resources = Resources(cast("Database", None), store)  # no database is asked here
    async with build_handler(settings, resources) as handler:
        yield Transcribing(handler, store)


async def test_real_speech_is_transcribed_with_words_and_times(transcribing: Transcribing) -> None:
    result = await transcribing.of(JFK_WAV)
    assert PHRASE in words(result.text)
    assert (result.language, result.model, result.backend) == ("en", "tiny.en", "local")
    spoken = [word for segment in result.segments for word in segment.words or []]
    (country,) = [word for word in spoken if words(word.text) == "country"][:1]
    assert 5500 < country.start_ms < country.end_ms < 7500  # measured by ear
    assert all(0 <= w.start_ms <= w.end_ms <= 11_000 for w in spoken)
    (call,) = transcribing.run.calls
    assert call.hold == MicroUSD(1000 + result.billed_ms)  # a second, and one for every second of speech
    assert call.cost is not None
    assert call.cost > 0
    assert 7000 < result.billed_ms < 11_000


async def test_of_the_words_of_real_speech_at_most_one_in_twenty_is_wrong(transcribing: Transcribing) -> None:
    result = await transcribing.of(JFK_WAV)
    assert jiwer.wer(words(SAID), words(result.text)) <= 0.05


async def test_long_pauses_are_not_billed_and_times_stay_those_of_the_media(
    transcribing: Transcribing, tmp_path: Path
) -> None:
    alone = await transcribing.of(JFK_WAV)
    padded = wav(tmp_path / "padded.wav", silence(20), jfk(), silence(20))
    result = await transcribing.of(padded)
    assert PHRASE in words(result.text)
    assert result.segments[0].start_ms >= 19_800
    assert result.segments[-1].end_ms <= 31_200
    assert abs(result.billed_ms - alone.billed_ms) < 500


SPEECHLESS = {
    "digital": silence(5),
    "faint": noise(5, 30),
    "loud": noise(5, 8000),
    "10 ms": silence(0.01),
    "chord": tones(10, 262, 330, 392),
    "melody": melody(10),
    "hum": tones(10, 50, 150),
}


@pytest.mark.parametrize("sound", SPEECHLESS.values(), ids=SPEECHLESS)
async def test_sound_without_speech_buys_nothing(
    transcribing: Transcribing, tmp_path: Path, sound: NDArray[np.int16]
) -> None:
    with pytest.raises(Skipped, match="silent"):
        await transcribing.of(wav(tmp_path / "sound.wav", sound))
    assert transcribing.run.calls == []


async def test_a_playlist_in_disguise_reads_no_other_file(transcribing: Transcribing, tmp_path: Path) -> None:
    playlist = tmp_path / "clip.mp4"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:11\n#EXTINF:11,\n{JFK_WAV.as_uri()}\n#EXT-X-ENDLIST\n")
    with pytest.raises(Poison, match="cannot be decoded"):
        await transcribing.of(playlist)


async def test_a_model_that_is_not_there_is_one_clear_sentence(tmp_path: Path) -> None:
    recipe = whisper_recipe(model=str(tmp_path), device="cpu", compute_type="auto", threads=1)
    with pytest.raises(ConfigurationError, match=r"speech model '.*' cannot be loaded"):
        async with open_children(recipe, Care()):
            pytest.fail("it was opened")


async def test_the_bundled_models_work_within_the_memory_that_the_page_names(tmp_path: Path) -> None:
    recipe = whisper_recipe(model="tiny.en", device="cpu", compute_type="auto", threads=2)

    with wave.open(str(JFK_WAV)) as speech:
        audio = Audio(speech.readframes(speech.getnframes()), loudest_db=-20.0)
    async with open_children(recipe, Care(memory_mb=1024)) as children:
        listened = await WhisperTranscriber(children, "tiny.en", batch=8).transcribe(Sound(audio))
    assert PHRASE in words(" ".join(segment.text for segment in listened.heard.segments))


@pytest.fixture(params=["in this process", "in a child"])
async def embedding(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddingModel]:
    if request.param == "in this process":
        yield WordLlamaModel()
    else:
        async with open_children(wordllama.RECIPE, Care()) as children:
            yield WordLlamaChildren(children)


async def test_near_in_meaning_is_near_in_direction(embedding: EmbeddingModel) -> None:
    model = embedding
    embedded = await model.embed(["a dog ran in the park", "a puppy was running outside", "quarterly tax returns"])
    dog, puppy, tax = np.array(embedded.vectors)
    assert (len(dog), model.dimensions) == (256, 256)
    assert dog @ puppy > 0.4 > dog @ tax
    assert embedded.use.tokens_in == sum(map(model.count_tokens, ["a dog ran in the park"])) + 10
    with pytest.raises((ValueError, Retryable)):
        await model.embed(["words", " "])  # nobody asks for this: a blank text has no meaning


async def test_a_child_gives_the_same_vectors_as_the_gateway() -> None:
    texts = ["ask not what your country can do for you", "Ünïcode 🎧", "mill " * 5000]
    here = WordLlamaModel()
    async with open_children(wordllama.RECIPE, Care()) as children:
        there = WordLlamaChildren(children)
        assert (there.name, there.dimensions) == (here.name, here.dimensions)
        assert (await there.embed(texts)).vectors == (await here.embed(texts)).vectors
        assert [*map(there.count_tokens, texts)] == [*map(here.count_tokens, texts)]
        assert (await there.embed([])).vectors == []


ARTICLE = """# Mills

A mill race is the channel of water that drives a water wheel. The water is led from a river through a gate. The
miller opens the gate as far as the wheel can bear. When there is too little water in the river, the mill must wait
until the pond behind the weir has filled again.

## History

Water mills ground grain in Roman times. In the Middle Ages there were thousands of them in England alone. Later they
drove hammers, saws and bellows. The first factories stood by rivers because water wheels drove their machines. Steam
engines made the mills independent of rivers. My neighbour likes bread with honey for breakfast on Sundays.
"""


@pytest.fixture
async def summarizer() -> AsyncIterator[ExtractiveSummarizer]:
    async with open_children(extractive.RECIPE, Care()) as children:
        yield ExtractiveSummarizer(children, Decimal("0.01"))


async def test_an_extractive_summary_is_sentences_of_the_text_in_their_order(
    summarizer: ExtractiveSummarizer,
) -> None:
    paid = await summarizer.summarize(Task(ARTICLE, "en-GB"))
    summary = paid.answer.summary
    assert summary is not None
    flat = " ".join(ARTICLE.split())
    places = [flat.index(point) for point in summary.key_points]
    assert places == sorted(places)
    assert len(summary.summary) < len(flat) / 2
    assert "water wheel" in summary.summary
    assert "honey" not in summary.summary + " ".join(summary.key_points)
    assert "Mills" not in summary.summary.split(), "a header is no sentence"
    assert any("water" in tag for tag in summary.tags)
    assert 0 < paid.cost <= summarizer.most(Task(ARTICLE))


@pytest.mark.parametrize(
    "text",
    ["Ask not what your country can do for you, ask what you can do for your country.", "word " * 5000, "# a\n" * 99],
    ids=["one sentence", "no sentence", "only headers"],
)
async def test_every_text_has_an_extractive_summary(summarizer: ExtractiveSummarizer, text: str) -> None:
    paid = await summarizer.summarize(Task(text, None))
    assert paid.answer.summary is not None
    assert paid.answer.summary.summary
