from __future__ import annotations

from typing import get_args

import pytest

from millrace.errors import Poison
from services.embed_agent.cutting import AUTO, chosen, is_longer
from services.embed_agent.domain import Chunker, Source


def count(text: str) -> int:
    return len(text.split())


def fitting(text: str, source: Source = "text") -> Chunker:
    return chosen(AUTO, source, text, count)


@pytest.mark.parametrize(
    ("text", "chunker"),
    [
        ("word " * 99, "none"),
        ("# Title\n\n" + "word " * 90, "none"),
        ("word " * 100, "sentence"),
        ("word " * 100 + "\n" + "word " * 100, "sentence"),
        ("word " * 100 + "\n \n" + "word " * 100, "paragraph"),
        ("# Title\n" + "word " * 100, "paragraph"),
        ("a" * 5000, "sentence"),
    ],
)
def test_the_chunker_fits_the_text(text: str, chunker: Chunker) -> None:
    assert fitting(text) == chunker
    assert fitting(text, "transcript") == "transcript"


def test_a_long_text_is_not_counted_to_be_known_as_long() -> None:
    def counted(text: str) -> int:
        raise AssertionError("read on the event loop")

    assert chosen(AUTO, "text", "word " * 500, counted) == "sentence"


@pytest.mark.parametrize("name", get_args(Chunker))
def test_what_is_wanted_is_used(name: Chunker) -> None:
    assert chosen(name, "transcript", "word", count) == name
    if name != "transcript":
        assert chosen(name, "text", "word", count) == name


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("transcript", "the chunker transcript cuts by times, and this text has none: choose another one"),
        (
            "words",
            "there is no chunker 'words': choose auto or one of none, transcript, paragraph, sentence, fixed",
        ),
        ("", "there is no chunker '': choose auto or one of none, transcript, paragraph, sentence, fixed"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(wanted: str, sentence: str) -> None:
    with pytest.raises(Poison) as raised:
        chosen(wanted, "text", "word", count)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("text", "longer"), [("a" * 5, False), ("a " * 6, True), ("a " * 5, False), ("x" * 101, True)]
)
def test_a_text_is_longer_than_so_many_tokens(text: str, longer: bool) -> None:
    assert is_longer(text, 5, count) is longer


def test_what_is_far_from_the_limit_is_not_counted() -> None:
    def counted(text: str) -> int:
        raise AssertionError("read on the event loop")

    assert is_longer("x" * 101, 5, counted)
    assert not is_longer("x" * 5, 5, counted)
