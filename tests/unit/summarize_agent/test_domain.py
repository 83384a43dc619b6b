from __future__ import annotations

import pytest

from millrace.text import count_words, looks_binary
from services.summarize_agent.domain import skip_reason

ENOUGH = "Ten words are enough for a summary when they are fifty letters."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ENOUGH, None),
        ("abc", "too-short"),
        ("", "too-short"),
        ("a b c d e f g h i j", "too-short"),
        ("Donaudampfschifffahrtsgesellschaft " * 3, "too-short"),
        ("word " * 201, "too-long"),
        ("\0" + ENOUGH, "binary"),
        ("\x01\x02\x03\x04" + ENOUGH, "binary"),
        ("\ufffd" * 20 + ENOUGH, "binary"),
        (
            "水車は川の水で回る。水車小屋の主人は水門を開けて、車輪が耐えられるだけの水を流す。水が少ない時は池が満ちるまで待つ。",
            None,
        ),
    ],
)
def test_texts_that_no_summary_helps_are_skipped_with_the_reason(text: str, reason: str | None) -> None:
    assert skip_reason(text, most_characters=1000) == reason


def test_words_are_counted_in_scripts_with_and_without_spaces() -> None:
    assert count_words("It's a well-known thing — isn’t it?") == 6  # noqa: RUF001
    assert count_words("水車 mill") == 2
    assert count_words(" \n ") == 0


def test_tabs_line_ends_and_a_stray_control_character_do_not_make_text_binary() -> None:
    assert not looks_binary("one\ttwo\r\nthree\fpage " * 10 + "\x1b")
