"""What the benchmark of chunks reads aloud, asks and counts."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from faster_whisper.transcribe import Segment, Word

from benchmarks import chunks
from benchmarks.chunks import Found, WholeTranscriber, report
from benchmarks.peers.whisper_api import verbose
from benchmarks.relevance import load
from benchmarks.turns import conversations, readable
from benchmarks.words import wer, wer_in_sum
from millrace.models.openai_api import open_client
from millrace.models.tariffs import PerMinute
from services.transcribe_agent.adapters.api import ApiTranscriber
from services.transcribe_agent.domain import Audio, Span
from services.transcribe_agent.speech import Speech
from services.transcribe_agent.verbose import read_answer, segments_of

SENTENCES = [f"This is the sentence {letter}{other}." for letter in "abcdefghij" for other in "klmnopqrst"]


def test_only_sentences_that_are_read_word_for_word_are_read() -> None:
    texts = [
        "She sat down at once. In 1963 nobody knew. Was it she? The café is shut on Monday.",
        "She sat down at once.",
    ]
    assert readable(texts) == ["She sat down at once."], "without figures, marks, a word too few, or twice"


def test_no_sentence_is_read_twice_and_files_are_read_by_other_voices() -> None:
    files = conversations(SENTENCES, seconds=60, files=3)
    read = Counter(one for turns in files for turn in turns for one in readable([turn.text]))
    assert set(read.values()) == {1}
    assert set(read) <= set(SENTENCES)
    assert list(read) != sorted(read)
    casts = [tuple({(turn.voice, turn.words_a_minute): None for turn in turns}) for turns in files]
    assert len(set(casts)) == 3
    assert all(len(cast) > 1 for cast in casts)
    assert files == conversations(SENTENCES, seconds=60, files=3), "the same at every run"


def test_files_are_as_long_as_asked_for_or_a_turn_longer() -> None:
    for turns in conversations(SENTENCES, seconds=60, files=3):
        assert sum(turn.seconds for turn in turns) >= 60 > sum(turn.seconds for turn in turns[:-1])


def test_more_speech_than_there_are_sentences_is_refused() -> None:
    with pytest.raises(ValueError, match="too few sentences"):
        conversations(SENTENCES, seconds=600, files=2)


def test_the_texts_last_for_the_default_length() -> None:
    sentences = readable([document.text for document in load().documents])
    assert len(conversations(sentences, seconds=1500, files=2)) == 2


def test_words_alone_are_compared() -> None:
    assert wer("Don't, he said: stop!", "don't he said stop") == 0.0
    assert wer("one two three four", "one two tree") == 50.0


def test_a_long_file_counts_for_more_than_a_short_one() -> None:
    files = [("a b c d e f g h", "a b c d e f g h"), ("a b", "x y")]
    assert wer_in_sum(files) == 20.0


def test_the_report_has_each_file_and_the_sums() -> None:
    files = [
        Found(20.04, "a b c d e f g h", 3, "a b c d e f g x", "a b c d e f g h"),
        Found(10.0, "a b", 1, "a b", "a x"),
    ]
    assert report(files) == {
        "files": [
            {"seconds": 20.0, "chunks": 3, "wer_chunks": 12.5, "wer_whole": 0.0},
            {"seconds": 10.0, "chunks": 1, "wer_chunks": 0.0, "wer_whole": 50.0},
        ],
        "wer_chunks": 10.0,
        "wer_whole": 10.0,
    }


async def test_one_piece_is_all_the_speech_where_the_agent_makes_chunks() -> None:
    speech = Speech(Audio(bytes(32 * 1_500_000), 0.0))
    async with open_client(base_url="http://127.0.0.1:9/v1", key=None, timeout_s=1) as client:
        whole = WholeTranscriber(client, model="whisper-1", tariff=PerMinute(Decimal(0))).chunks(speech)
        chunked = ApiTranscriber(client, model="whisper-1", tariff=PerMinute(Decimal(0))).chunks(speech)
    assert [chunk.sound for chunk in whole] == [Span(0, 1_500_000)]
    assert len(chunked) == 3


def test_the_agent_reads_words_and_times_out_of_an_answer() -> None:
    words = [Word(0.5, 0.9, " And", 0.9), Word(0.9, 1.4, " so", 0.9)]
    segment = Segment(1, 0, 0.5, 1.4, " And so", [1], -0.2, 1.0, 0.01, words, 0.0)
    answer = read_answer(json.dumps(verbose([segment], "en", 1.6)))
    assert answer is not None
    assert (answer.text, answer.language, answer.billed_ms) == ("And so", "en", 2000)
    (heard,) = segments_of(answer, 1600)
    assert [(word.text, word.start_ms, word.end_ms) for word in heard.words or ()] == [
        ("And", 500, 900),
        ("so", 900, 1400),
    ]


def test_without_espeak_ng_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["chunks", "--json"])
    assert chunks.main() == 1
    out, said = capsys.readouterr()
    assert out == ""
    assert "espeak-ng is missing" in said
