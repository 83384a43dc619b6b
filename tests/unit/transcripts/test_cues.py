"""Cues have all that was said, once and in order, and can be read while they are shown."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given

from millrace.contracts.events import Segment
from millrace.transcripts.cues import LINGER_MS, LONGEST_MS, SHORTEST_MS, Cue, limits_of, make_cues
from millrace.transcripts.tokens import cleaned
from millrace.transcripts.units import width
from tests.unit.transcripts.build import JFK, bad_segments, good_segments, said, spoken


def letters(text: str) -> str:
    return "".join(cleaned(text).split())


def shown(cues: list[Cue]) -> list[str]:
    return [" / ".join(cue.lines) for cue in cues]


def text_of(segment: Segment) -> str:
    return segment.text if segment.text.strip() else " ".join(word.text for word in segment.words or [])


def check_order(cues: list[Cue]) -> None:
    assert all(0 <= cue.start_ms < cue.end_ms <= cue.start_ms + LONGEST_MS for cue in cues)
    assert all(before.end_ms <= cue.start_ms for before, cue in pairwise(cues))


@given(bad_segments())
def test_no_character_is_lost_or_doubled_and_cues_are_in_order_whatever_a_model_says(segments: list[Segment]) -> None:
    cues = make_cues(segments)
    assert letters("".join(line for cue in cues for line in cue.lines)) == letters("".join(map(text_of, segments)))
    check_order(cues)
    columns = limits_of(segments).columns
    assert all(1 <= len(cue.lines) <= 2 for cue in cues)
    assert all(line == line.strip() and line and width(line) <= columns for cue in cues for line in cue.lines)


@given(good_segments())
def test_a_cue_begins_with_its_words_and_stays_until_they_can_be_read(segments: list[Segment]) -> None:
    cues = make_cues(segments)
    words = [word for segment in segments for word in segment.words or []]
    assert [word for cue in cues for line in cue.lines for word in line.split()] == [word.text for word in words]
    check_order(cues)
    for cue, following in zip(cues, [*cues[1:], None], strict=True):
        own = [words.pop(0) for line in cue.lines for _ in line.split()]
        assert cue.start_ms == own[0].start_ms
        lingers = max(own[-1].end_ms + LINGER_MS, cue.start_ms + SHORTEST_MS)
        reading = cue.start_ms + max(SHORTEST_MS, width(" ".join(cue.lines)) * 1000 // 20)
        assert own[-1].end_ms <= cue.end_ms <= lingers
        if following is None or cue.end_ms < following.start_ms:
            assert cue.end_ms >= min(reading, lingers, cue.start_ms + LONGEST_MS)


def test_speech_of_a_real_model_is_broken_where_the_speaker_breathes() -> None:
    assert make_cues(JFK) == [
        Cue(0, 2260, ("And so, my fellow Americans",)),
        Cue(2260, 8020, ("ask not what your country can do for you",)),
        Cue(8020, 10480, ("ask what you can do for your country.",)),
    ]


def test_sentences_end_cues_before_clauses_and_clauses_before_words() -> None:
    sentences = spoken("The mill stood at the end of the long valley. Nobody had ground any corn in it for years.")
    assert shown(make_cues([sentences])) == [
        "The mill stood at the / end of the long valley.",
        "Nobody had ground any / corn in it for years.",
    ]
    clauses = spoken(
        "When the water had gone down to the stones, the wheel of the old mill on the far bank stood still."
    )
    assert shown(make_cues([clauses]))[0].endswith("stones,")


def test_short_sentences_share_a_cue_and_long_ones_do_not() -> None:
    assert shown(make_cues([spoken("Yes. No. Perhaps.")])) == ["Yes. No. Perhaps."]


def test_a_title_or_an_abbreviation_does_not_end_a_sentence() -> None:
    cues = make_cues(
        [spoken("Everybody in the house had known and liked old Dr. Smith since the year of the flood.")]
    )
    assert not any(cue.lines[-1].endswith("Dr.") for cue in cues)


def test_words_are_not_given_away_before_a_pause_has_ended() -> None:
    segment = said(
        "And the winner is Kim", 0, 6000, timed=[(0, 300), (300, 500), (500, 900), (900, 1200), (4500, 6000)]
    )
    assert [(cue.start_ms, cue.lines) for cue in make_cues([segment])] == [
        (0, ("And the winner is",)),
        (4500, ("Kim",)),
    ]


def test_without_times_of_words_a_segment_is_split_in_proportion_to_its_letters() -> None:
    text = "one two three four five six seven eight nine ten " * 4
    cues = make_cues([said(text, 60_000, 76_000)])
    assert cues[0].start_ms == 60_000
    assert cues[-1].end_ms == 76_000
    speeds = [width(" ".join(cue.lines)) / (cue.end_ms - cue.start_ms) for cue in cues]
    assert max(speeds) / min(speeds) < 1.1


def test_slow_speech_without_times_of_words_is_not_torn_into_words() -> None:
    assert shown(make_cues([said("Hello there my friend", 0, 6500)])) == ["Hello there my friend"]


def test_words_of_a_model_that_leaves_punctuation_out_still_give_the_times() -> None:
    bare = said("Hello there Sam", timed=[(0, 400), (3000, 3400), (3400, 3800)])
    cues = make_cues([bare.model_copy(update={"text": "Hello. There, Sam!"})])
    assert [(cue.start_ms, cue.lines) for cue in cues] == [(0, ("Hello.",)), (3000, ("There, Sam!",))]


def test_a_word_longer_than_a_cue_may_be_is_shown_for_its_first_seven_seconds() -> None:
    (cue,) = make_cues([said("Goooal", 0, 30_000, timed=[(0, 30_000)])])
    assert 1000 <= cue.end_ms <= 7000


def test_times_over_an_hour_are_kept() -> None:
    (cue,) = make_cues([spoken("Late words", start_ms=5 * 3_600_000)])
    assert cue.start_ms == 18_000_000


@pytest.mark.parametrize("segments", [[], [said("")], [said("  \n"), said("")]])
def test_nothing_said_is_no_cue(segments: list[Segment]) -> None:
    assert make_cues(segments) == []


CHINESE = "当你的国家需要你的时候，不要问你的国家能为你做什么，而要问你能为你的国家做什么。我们谈谈「流处理」吧。"  # noqa: RUF001  # so it is written
JAPANESE = "サブタイトルは、ユーザーにとって読みやすいものでなければなりません。ちょっと待ってください！"  # noqa: RUF001  # so it is written
THAI = "เราจะไปที่นั่นด้วยกันในวันพรุ่งนี้เพราะว่ามันเป็นสถานที่ที่สวยงามที่สุดในประเทศของเรา"


@pytest.mark.parametrize("text", [CHINESE, JAPANESE, THAI, CHINESE.replace("。", "") * 3])
def test_scripts_without_spaces_are_broken_and_get_none(text: str) -> None:
    cues = make_cues([said(text, 0, 15_000)])
    lines = [line for cue in cues for line in cue.lines]
    assert "".join(lines) == text
    assert len(lines) > 2
    assert all(line[0] not in "\uff0c\uff01、。」ょっーะาำ่" and line[-1] not in "「เแโใไ" for line in lines)
    check_order(cues)


def test_ideographs_get_lines_of_sixteen_and_segments_without_a_blank_between() -> None:
    cues = make_cues([said("你好、", 0, 1000), said("世界。", 1000, 2000)])
    assert shown(cues) == ["你好、世界。"]
    assert max(len(line) for cue in make_cues([said(CHINESE, 0, 15_000)]) for line in cue.lines) <= 16
