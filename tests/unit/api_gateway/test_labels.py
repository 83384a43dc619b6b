"""What topics are called."""

from __future__ import annotations

from services.api_gateway.labels import MOST_TERMS, Words, label, terms

MILLS = [
    Words("The water wheel", "The wheel turns, and the mill grinds."),
    Words("A mill", "The wheel of the mill is in the river."),
    Words("", "Our wheel is of oak, and the river is low."),
]
BREAD = [Words("Bread", "The dough rests, and the oven is hot."), Words("Dough", "The oven bakes the bread.")]
STOP = frozenset({"the", "and", "our"})


def test_a_topic_is_named_by_what_it_has_and_others_have_not() -> None:
    mills, bread = terms([MILLS, BREAD], [Words("The court", "The hearing was put off.")])
    assert set(label(mills, STOP).split(", ")) == {"wheel", "mill", "river"}
    assert set(label(bread, STOP).split(", ")) == {"Bread", "Dough", "oven"}


def test_a_single_long_share_does_not_name_a_topic() -> None:
    loud = Words("", "harbour " * 500)
    (ranked,) = terms([[*MILLS, loud]], [])
    assert "harbour" not in label(ranked, STOP)


def test_what_one_share_alone_is_called_comes_behind_what_all_say() -> None:
    (ranked,) = terms([[Words("Zanzibar", "wheel"), *[Words("", "wheel")] * 2]], [Words("", "wheel")] * 20)
    assert ranked == ["wheel", "Zanzibar"]


def test_forms_of_a_word_stand_once() -> None:
    assert label(["mills", "mill", "Mill", "wheel"], frozenset()) == "mills, wheel"


def test_what_says_nothing_leaves_no_label() -> None:
    (ranked,) = terms([[Words("", "12 34 567 a of"), Words("12", "!")]], [])
    assert label(ranked, STOP) == ""
    assert label(["The", "AND"], STOP) == ""


def test_scripts_without_spaces_are_named_by_two_signs() -> None:
    (ranked,) = terms([[Words("水车", "水车在河边。"), Words("", "河边的水车很旧。")]], [])
    assert label(ranked, frozenset()).split(", ")[:1] == ["水车"]


def test_there_are_not_more_terms_than_are_looked_at() -> None:
    long = Words("", " ".join(f"word{number}" for number in range(1000)))
    assert [len(ranked) for ranked in terms([[long, long]], [])] == [MOST_TERMS]


def test_no_topics_have_no_terms() -> None:
    assert terms([], BREAD) == []
