from __future__ import annotations

from millrace.contracts.search_api import SearchAnswer
from services.api_gateway.answers import KEPT_S, Answers


def answer(query: str) -> SearchAnswer:
    return SearchAnswer(query=query, mode="hybrid", hits=[])


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_is_kept_with_its_mark_for_a_while() -> None:
    clock = Clock()
    answers = Answers(clock=clock)
    answers.keep("a", answer("a"), "7")
    kept = answers.get("a")
    assert kept is not None
    assert (kept.answer.query, kept.mark, answers.get("b")) == ("a", "7", None)
    clock.now += KEPT_S
    assert answers.get("a") is None


def test_what_was_asked_for_longest_ago_makes_room() -> None:
    answers = Answers(most=2)
    for key in "ab":
        answers.keep(key, answer(key), "1")
    assert answers.get("a")
    answers.keep("c", answer("c"), "1")
    assert [key for key in "abc" if answers.get(key)] == ["a", "c"]


def test_a_newer_answer_takes_the_place_of_the_older() -> None:
    answers = Answers()
    answers.keep("a", answer("old"), "1")
    answers.keep("a", answer("new"), "2")
    kept = answers.get("a")
    assert kept is not None
    assert (kept.answer.query, kept.mark) == ("new", "2")


def test_none_is_kept_where_there_is_no_room() -> None:
    answers = Answers(most=0)
    answers.keep("a", answer("a"), "1")
    assert answers.get("a") is None
