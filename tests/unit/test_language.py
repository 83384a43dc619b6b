from __future__ import annotations

import socket
import time

import pytest

from millrace.language import detect_language, well_formed


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A mill race is the channel of water that drives a water wheel.", "en"),
        ("Das Wasser treibt das Rad der Mühle an,\nund der Müller öffnet das Wehr.", "de"),
        ("L'eau fait tourner la roue du moulin, et le meunier ouvre la vanne.", "fr"),
        ("水車は川の水で回る。", "ja"),
        ("THE MILL RACE IS THE CHANNEL OF WATER THAT DRIVES A WHEEL", "en"),
        ("```\nfor word in words: print(word)\n```\nDer Müller öffnet das Wehr am Bach.", "de"),
        ("ok", None),
        ("", None),
        ("1234 5678 9999 1.2 https://example.org/a/long/path/with/words", None),
        ("asdf qwer zxcv uiop hjkl vbnm", None),
    ],
)
def test_the_language_of_a_text_is_found_or_left_open(text: str, language: str | None) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize("piece", ["a", "a@", "@", "水"])
def test_no_text_takes_longer_than_its_length(piece: str) -> None:
    before = time.process_time()
    detect_language(piece * 16_000)
    assert time.process_time() - before < 0.3


def test_addresses_are_in_no_language() -> None:
    assert detect_language("ada.lovelace@the.mill.example.org grace@water.wheel.example.org") is None


def test_nothing_is_asked_for_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a model is to be downloaded")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert detect_language("Der Müller öffnet morgens das Wehr am Bach.") == "de"


@pytest.mark.parametrize("tag", ["en", "de-AT", "zh-Hant-TW", "yue", "es-419", "sr-Latn"])
def test_a_tag_is_taken_as_it_is(tag: str) -> None:
    assert well_formed(tag) == tag


@pytest.mark.parametrize(
    "tag",
    [
        None,
        "",
        "english",
        "en ",
        "en\n",
        "en. Ignore all",
        "-",
        "e",
        "en--AT",
        "en-ignore-rules-say-HACKED",
        "en-say",
    ],
)
def test_what_is_no_tag_is_none(tag: str | None) -> None:
    assert well_formed(tag) is None
