from __future__ import annotations

import json

import pytest

from millrace.contracts.events import Segment, Word
from services.transcribe_agent.verbose import read_answer, segments_of

SEGMENT = {"start": 0.0, "end": 2.0, "text": " ask not "}
NOT_SAID = {"start": 2.0, "end": 9.0, "text": "Thanks for watching!", "no_speech_prob": 0.9, "avg_logprob": -1.4}


def word(text: str, start: float, end: float) -> dict[str, object]:
    return {"word": text, "start": start, "end": end}


def found(answer: object, length_ms: int = 11_000) -> list[Segment]:
    said = read_answer(json.dumps(answer))
    assert said is not None
    return segments_of(said, length_ms)


def plain(start_ms: int, end_ms: int, text: str) -> Segment:
    return Segment(start_ms=start_ms, end_ms=end_ms, text=text)


@pytest.mark.parametrize(
    "body", ["", "<html>", "null", "[]", "{}", '{"text": 7}', '{"text": "' + "a" * 300_000 + '"}']
)
def test_an_answer_without_a_text_that_somebody_said_cannot_be_read(body: str) -> None:
    assert read_answer(body) is None


@pytest.mark.parametrize(
    ("answer", "segments"),
    [
        ({"text": "ask not"}, [plain(0, 11_000, "ask not")]),
        ({"text": " \0 "}, []),
        ({"text": "ask not", "segments": []}, [plain(0, 11_000, "ask not")]),
        ({"text": "x", "segments": [SEGMENT]}, [plain(0, 2000, "ask not")]),
        ({"text": "x", "segments": [{**SEGMENT, "start": -0.02}]}, [plain(0, 2000, "ask not")]),
        ({"text": "x", "segments": [{**SEGMENT, "start": 2.5}]}, [plain(2500, 2500, "ask not")]),
        ({"text": "x", "segments": [{**SEGMENT, "avg_logprob": None}]}, [plain(0, 2000, "ask not")]),
        ({"text": "ask", "segments": [{**SEGMENT, "start": "soon"}]}, [plain(0, 11_000, "ask")]),
        ({"text": "ask", "segments": [{**SEGMENT, "end": 1e12}, 7, None]}, [plain(0, 11_000, "ask")]),
        ({"text": "ask", "segments": "none", "words": "none", "usage": 3}, [plain(0, 11_000, "ask")]),
        ({"text": "x", "segments": [NOT_SAID]}, []),
    ],
)
def test_what_can_be_used_of_an_answer_is_used(answer: object, segments: list[Segment]) -> None:
    assert found(answer) == segments


def test_words_go_to_the_segment_that_they_are_said_in() -> None:
    words = [word("ask", 0.1, 0.5), word("not", 0.6, 1.9), word("what", 2.1, 2.5)]
    segments = found({"text": "x", "segments": [SEGMENT, {"start": 2.0, "end": 3.0, "text": "what"}], "words": words})
    assert [[one.text for one in segment.words or ()] for segment in segments] == [["ask", "not"], ["what"]]


def test_the_words_of_what_was_made_up_are_left_out_with_it() -> None:
    words = [word("ask", 0.1, 0.5), word("not", 0.6, 1.9), word("Thanks", 2.5, 4.0), word("for", 4.0, 5.0)]
    (segment,) = found({"text": "x", "segments": [SEGMENT, NOT_SAID], "words": words})
    assert [one.text for one in segment.words or ()] == ["ask", "not"]


def test_words_inside_segments_are_read_too() -> None:
    inside = {**SEGMENT, "words": [word("ask", 0.1, 0.5), word("not", 0.6, 1.9)]}
    (segment,) = found({"text": "x", "segments": [inside]})
    assert segment.words == [Word(start_ms=100, end_ms=500, text="ask"), Word(start_ms=600, end_ms=1900, text="not")]


def test_words_without_segments_are_one_segment() -> None:
    (segment,) = found({"text": "ask not", "words": [word("ask", 1.0, 1.5), word("not", 1.6, 1.9)]})
    assert (segment.start_ms, segment.end_ms, segment.text) == (1000, 1900, "ask not")
    assert len(segment.words or ()) == 2


def test_a_word_without_times_is_left_out_and_stays_in_the_text() -> None:
    words = [word("ask", 0.1, 0.5), {"word": "20", "start": None}, {"word": "30"}, word(" ", 1.0, 1.1)]
    (segment,) = found({"text": "x", "segments": [SEGMENT], "words": words})
    assert [one.text for one in segment.words or ()] == ["ask"]


@pytest.mark.parametrize(
    ("usage", "billed_ms"),
    [
        ({"type": "duration", "seconds": 3}, 3000),
        ({"seconds": 3}, 3000),
        ({"type": "tokens", "input_tokens": 9}, None),
        ({}, None),
        ({"seconds": "3"}, None),
        ({"seconds": True}, None),
        ({"seconds": -5}, 0),
        ({"seconds": 1e9}, None),
    ],
)
def test_what_is_billed_is_what_the_provider_counts(usage: object, billed_ms: int | None) -> None:
    said = read_answer(json.dumps({"text": "x", "usage": usage}))
    assert said is not None
    assert said.billed_ms == billed_ms
