from __future__ import annotations

from itertools import pairwise, product

import pytest

from millrace.sentences import split_sentences
from services.summarize_agent.domain import Cut, Summary
from services.summarize_agent.parts import (
    BETWEEN,
    FAN,
    MOST_PARTS,
    TRIES,
    Limits,
    call_number,
    cut,
    most_groups,
    packed,
    partial,
    slices,
)


def words(text: str) -> int:
    return len(text.split())


def octets(text: str) -> int:
    return len(text.encode())


def parts(text: str, limits: Limits) -> list[str]:
    return [text[part] for part in slices(cut(text, split_sentences(text, None), octets, limits).ends)]


def test_no_two_calls_have_one_number() -> None:
    calls = list(product(range(4), range(MOST_PARTS), range(TRIES)))
    assert len({call_number(*call) for call in calls}) == len(calls)
    assert call_number(0, 0, 0) == 0


def test_a_text_is_cut_between_sentences_into_as_few_parts_as_there_can_be() -> None:
    text = "The mill is old. It stands by the river, as ever. The miller opens the gate. He waits for water. " * 30
    found = parts(text, Limits(1000, 12))
    assert "".join(found) == text
    assert len(found) == -(-octets(text) // 1000)
    assert all(part.rstrip().endswith(".") for part in found)
    assert max(map(octets, found)) < 2 * min(map(octets, found)), "no part is a poor rest"


@pytest.mark.parametrize("text", ["mill" * 3000, "mill " * 3000, "水" * 3000, "\U0001f3ed" * 2000, "a\n" * 4000, ""])
def test_a_text_without_sentences_is_cut_all_the_same(text: str) -> None:
    found = parts(text, Limits(1000, 100))
    assert "".join(found) == text
    assert all(octets(part) <= 1000 for part in found)


@pytest.mark.parametrize("blank", ["\n", " ", "\u3000"])
def test_nothing_is_paid_for_a_part_that_is_blank(blank: str) -> None:
    said = "The mill is old. It stands by the river. The miller opens the gate."
    text = f"{blank * 3000}{said}{blank * 20_000}{said}{blank * 20_000}"
    found = parts(text, Limits(1000, 12))
    assert "".join(found) == text
    assert len(found) <= 3
    assert all(octets(part.strip()) <= 1000 and part.strip() for part in found)
    assert parts(blank * 5000, Limits(1000, 12)) == [blank * 5000]


def test_what_is_beyond_the_last_part_is_cut_off() -> None:
    text = "The mill is old. " * 100
    found = cut(text, split_sentences(text, None), octets, Limits(500, 2))
    assert (len(found.ends), found.truncated) == (2, True)
    assert text[: found.ends[-1]].endswith("old. ")
    assert not cut(text, split_sentences(text, None), octets, Limits(500, 4)).truncated


def test_parts_are_full_where_something_is_left_out() -> None:
    text = ("The mill is old. " * 15)[:-1] + " " + "The miller who keeps it is older than the wheel is. " * 10
    for limits in (Limits(500, 1), Limits(250, 2)):
        found = cut(text, split_sentences(text, None), octets, limits)
        assert found.truncated
        assert all(octets(text[part]) > limits.part_tokens - 60 for part in slices(found.ends))


def test_neighbours_are_put_together_up_to_the_limit() -> None:
    assert packed([3, 3, 3, 3], 6) == (2, 4)
    assert packed([3, 3, 3, 3], 7) == (2, 4)
    assert packed([9, 1, 1], 6) == (1, 3)
    assert packed([], 6) == ()
    assert slices((2, 4)) == [slice(0, 2), slice(2, 4)]


@pytest.mark.parametrize("most", [83, 200])
def test_a_partial_summary_is_as_short_as_was_promised_and_ends_behind_a_sentence(most: int) -> None:
    summary = Summary(summary="Water drives the old mill by the river. " * 60, key_points=["one", "two"])
    found = partial(summary, 3, lambda text: split_sentences(text, "en"), words, most)
    assert words(found) + BETWEEN <= most
    assert found.startswith("Part 3:\nWater")
    assert found.endswith("river.")
    short = partial(Summary(summary="Mills.", key_points=["one"]), 1, lambda text: [text], words, most)
    assert short == "Part 1:\nMills.\n- one"


@pytest.mark.parametrize("count", [1, 2, FAN, FAN + 1, 12, 36, 37, MOST_PARTS])
def test_levels_are_bounded_and_end_with_one_call(count: int) -> None:
    levels = list(most_groups(count))
    assert levels == [] if count == 1 else levels[-1] == 1
    sizes = [100 // FAN] * count
    for bound in levels:
        groups = packed(sizes, 100)
        assert len(groups) <= bound
        sizes = [100 // FAN] * len(groups)
    assert len(sizes) == 1
    assert all(later < earlier for earlier, later in pairwise(levels))


def test_a_cut_is_kept_as_json() -> None:
    assert Cut((1, 2)) == Cut(ends=(1, 2), truncated=False)
