from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from pydantic import JsonValue

from millrace.contracts.events import Segment
from millrace.errors import Retryable
from services.transcribe_agent.adapters import whisper_child
from services.transcribe_agent.adapters.asked import Asked, Transcribed
from services.transcribe_agent.adapters.whisper_child import is_speech, listening

PCM = b"\0\0" * 16_000 * 40
CLIPS = [(0, 20_000), (20_000, 40_000)]


@dataclass
class FoundWord:
    start: float
    end: float
    word: str = " no"


def steadily(count: int, length: float, start: float = 20.0) -> list[FoundWord]:
    """Words of one length, one after another."""
    return [FoundWord(start + n * length, start + (n + 1) * length) for n in range(count)]


@dataclass
class Found:
    start: float
    end: float
    text: str
    avg_logprob: float = -0.3
    compression_ratio: float = 1.5
    no_speech_prob: float = 0.1
    words: list[FoundWord] = field(default_factory=list)

    @property
    def seek(self) -> int:
        """Where its clip begins, in hundredths of a second."""
        return 0 if self.start < 20 else 2000


@dataclass
class Info:
    language: str = "en"


@dataclass
class FakeModel:
    """What faster-whisper does, with clips (`at_once`) and one after another (`again`)."""

    at_once: Callable[[], Iterator[Found]]
    again: list[Found] = field(default_factory=list)
    heard_again: list[int] = field(default_factory=list)

    def transcribe(self, audio: np.ndarray, **options: object) -> tuple[Iterator[Found], Info]:
        if "clip_timestamps" in options:
            return self.at_once(), Info()
        self.heard_again.append(len(audio) // 16)
        return iter(self.again), Info()


@pytest.fixture(autouse=True)
def no_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whisper_child, "BatchedInferencePipeline", lambda model: model)


def heard(model: FakeModel) -> Transcribed:
    asked = Asked(gain_db=0.0, clips=CLIPS).model_dump_json().encode()
    ended, _ = listening(model, "fake")(asked, PCM, lambda _: None)
    assert isinstance(ended, Transcribed)
    return ended


def test_what_was_heard_is_told_without_empty_segments() -> None:
    model = FakeModel(lambda: iter([Found(0.0, 5.0, " one "), Found(5.0, 20.0, "  "), Found(20.1, 38.2, " two ")]))
    ended = heard(model)
    assert ended.language == "en"
    assert ended.segments == [
        Segment(start_ms=0, end_ms=5000, text="one", words=[]),
        Segment(start_ms=20_100, end_ms=38_200, text="two", words=[]),
    ]
    assert model.heard_again == []


GUESSED = Found(20.0, 39.0, "no no", avg_logprob=-1.1)
TOO_FAST = Found(20.0, 39.0, "no no", compression_ratio=2.5, words=steadily(100, 0.1))
LEFT_OFF = Found(20.0, 37.9, "no no")
OF_NO_LENGTH = Found(20.0, 39.0, "no no", compression_ratio=2.5, words=[*steadily(10, 0.4), *steadily(10, 0.0)])


@pytest.mark.parametrize(
    "doubtful",
    [[GUESSED], [TOO_FAST], [OF_NO_LENGTH], [LEFT_OFF], []],
    ids=["guessed", "too fast", "of no length", "left off", "nothing"],
)
def test_a_clip_that_was_misheard_is_heard_once_more_with_its_own_times(doubtful: list[Found]) -> None:
    model = FakeModel(
        lambda: iter([Found(0.0, 19.0, "good"), *doubtful]),
        again=[Found(0.5, 3.0, " now better ")],
    )
    assert heard(model).segments[1] == Segment(start_ms=20_500, end_ms=23_000, text="now better", words=[])
    assert model.heard_again == [20_000], "only that clip"


def test_what_was_heard_is_not_given_up_for_less() -> None:
    """A clip that ends in breath looks as if it had been left in its middle."""
    model = FakeModel(lambda: iter([Found(0.0, 19.0, "good"), Found(20.0, 37.0, " yes okay ")]), again=[])
    assert [segment.text for segment in heard(model).segments] == ["good", "yes okay"]
    assert model.heard_again == [20_000]


@pytest.mark.parametrize(
    "said",
    [
        "CUDA failed with error out of memory",
        "cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED",
        "std::bad_alloc",
    ],
)
def test_a_model_that_finds_no_memory_when_it_is_loaded_is_out_of_memory(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(whisper_child, "WhisperModel", fail)
    settings: Mapping[str, JsonValue] = {"model": "tiny.en", "device": "cuda", "compute_type": "auto", "threads": 1}
    with pytest.raises(MemoryError):
        whisper_child.load_whisper(settings)


def test_a_speaker_who_repeats_himself_is_not_misheard() -> None:
    chorus = Found(0.0, 20.0, "no no", compression_ratio=3.0, words=steadily(40, 0.4, start=0.0))
    model = FakeModel(lambda: iter([chorus, Found(20.0, 40.0, "on")]))
    assert len(heard(model).segments) == 2
    assert model.heard_again == []


def test_what_is_made_up_in_silence_is_left_out() -> None:
    thanks = Found(0.0, 3.0, "Thanks for watching!", avg_logprob=-1.3, no_speech_prob=0.9)
    assert heard(FakeModel(lambda: iter([thanks]), again=[thanks])).segments == []


def test_the_seconds_are_those_of_the_work() -> None:
    def a_twentieth_of_a_second() -> Iterator[Found]:
        time.sleep(0.05)
        yield Found(0.0, 1.0, "one")

    started = time.perf_counter()
    ended = heard(FakeModel(a_twentieth_of_a_second))
    assert 0.05 <= ended.seconds <= time.perf_counter() - started


def failing(sentence: str) -> Callable[[], Iterator[Found]]:
    def fail() -> Iterator[Found]:
        yield Found(0.0, 1.0, "one")
        raise RuntimeError(sentence)

    return fail


def test_a_device_without_memory_is_out_of_memory_like_this_machine() -> None:
    with pytest.raises(MemoryError):
        heard(FakeModel(failing("CUDA failed with error out of memory")))


def test_a_model_that_fails_in_the_middle_is_tried_again_later() -> None:
    with pytest.raises(Retryable, match="device is lost"):
        heard(FakeModel(failing("the device is lost")))


@pytest.mark.parametrize(("sureness", "speech"), [(0.5, False), (0.9, True)])
def test_somebody_speaks_when_the_detector_is_sure(
    monkeypatch: pytest.MonkeyPatch, sureness: float, speech: bool
) -> None:
    monkeypatch.setattr(
        whisper_child, "get_vad_model", lambda: lambda samples: np.full(len(samples) // 512, sureness)
    )
    samples = np.zeros(16_000, dtype=np.float32)
    assert is_speech(samples, [(0, 400), (1000, 9000)]) is speech
    assert not is_speech(samples, [])
    assert not is_speech(samples, [(0, 5 * 512)]), "a click is not a word"
