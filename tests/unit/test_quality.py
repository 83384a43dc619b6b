"""Quality by rule, at its extremes."""

from __future__ import annotations

import time
from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.relevance import load
from millrace.quality import LOOKED_AT, Quality, quality_of

PROSE = " ".join(document.text for document in load().documents[:4])
CHINESE = "今天天气很好。我们去公园散步。孩子们在湖边喂鸭子。老人们在树下下棋。后来下起了雨。大家都跑到亭子里避雨。"
LINKS = "See https://a.example/one/long/path?with=query https://b.example/two/long/path too"


@pytest.mark.parametrize("text", ["", " \n", "!!!", "\x00\x01\x02", "\U0001f600" * 50])
def test_what_is_no_text_has_none(text: str) -> None:
    assert quality_of(text).score == 0


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        (PROSE, 0.99, 1.0),
        (PROSE[:300], 0.85, 0.99),
        (CHINESE, 0.8, 1.0),
        ("hello", 0.2, 0.5),
        ("thank you for watching " * 200, 0.0, 0.0),
        ("a" * 5000, 0.0, 0.0),
        ("BUY NOW!!! https://spam.example/x CLICK " * 20, 0.0, 0.0),
        ("<div class='x'><p>Hi</p></div>\n" * 40, 0.0, 0.0),
        (LINKS, 0.0, 0.1),
    ],
)
def test_scores_are_where_a_reader_expects_them(text: str, least: float, most: float) -> None:
    assert least <= quality_of(text).score <= most


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("length", PROSE[:80]),
        ("sentences", PROSE.replace(". ", " ").replace(", ", " ")),
        ("repetition", PROSE[:200] * 20),
        ("links", PROSE[:200] + " https://a.example/a/long/path/to/something" * 2),
        ("shouting", PROSE.upper()),
        ("vocabulary", "the mill and the wheel of the mill and the wheel by the river of the mill. " * 3),
    ],
)
def test_each_part_says_what_is_wrong(part: str, text: str) -> None:
    assert asdict(quality_of(text))[part] < asdict(quality_of(PROSE))[part]


def test_all_judged_documents_are_better_than_all_spam() -> None:
    spam = ["WIN $$$ NOW!!! " * 30, LINKS, "lol " * 100, "<br>" * 200 + "hi"]
    worst = min(quality_of(document.text).score for document in load().documents)
    assert worst > 0.9 > 0.3 > max(quality_of(text).score for text in spam)  # noqa: PLR0133 - the line between


def test_the_score_is_one_where_all_parts_are_and_nothing_where_one_is() -> None:
    names = [field.name for field in fields(Quality)]
    best = Quality(**dict.fromkeys(names, 1.0))
    assert best.score == 1
    assert [Quality(**{**asdict(best), name: 0.0}).score for name in names] == [0.0] * len(names)


@given(st.text(max_size=2000))
def test_parts_and_score_are_between_nothing_and_one(text: str) -> None:
    quality = quality_of(text)
    assert all(0 <= value <= 1 for value in [quality.score, *asdict(quality).values()])


@pytest.mark.parametrize("sign", ["<", "!", "a", "<a", "http://", "www.", " ", "。"])
def test_no_text_keeps_it_busy(sign: str) -> None:
    started = time.process_time()
    quality_of(sign * (1_000_000 // len(sign)))
    assert time.process_time() - started < 1


def test_only_the_beginning_counts() -> None:
    prose = PROSE * (LOOKED_AT // len(PROSE) + 1)
    assert quality_of(prose[:LOOKED_AT]) == quality_of(prose[:LOOKED_AT] + "BUY NOW!!! " * 1000)
