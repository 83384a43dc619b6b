from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.search_api import SearchMode
from services.api_gateway.cursors import Place, cursor_of, fingerprint, place_of
from services.api_gateway.errors import Unreadable

SEARCH = fingerprint(query="mills", mode="hybrid")
MODES: tuple[SearchMode, ...] = ("hybrid", "semantic", "keyword")


@given(st.integers(0, 9999), st.sampled_from(MODES))
def test_a_cursor_names_its_place(seen: int, mode: SearchMode) -> None:
    assert place_of(cursor_of(Place(seen, mode), SEARCH), SEARCH) == Place(seen, mode)


def test_a_cursor_is_of_the_search_that_gave_it() -> None:
    cursor = cursor_of(Place(10, "hybrid"), SEARCH)
    for other in ({"query": "mill"}, {"query": "mills", "mode": "keyword"}, {"query": "mills", "kind": "url"}):
        with pytest.raises(Unreadable, match="none that this search has given"):
            place_of(cursor, fingerprint(**{"mode": "hybrid", **other}))


@pytest.mark.parametrize("cursor", ["", "10", "10.h", f"-1.h.{SEARCH}", f"10.x.{SEARCH}", f"99999.h.{SEARCH}", "\0"])
def test_what_is_no_cursor_is_one_sentence(cursor: str) -> None:
    with pytest.raises(Unreadable) as refused:
        place_of(cursor, SEARCH)
    assert str(refused.value).count(". ") == 0


@given(st.text(max_size=40))
def test_no_text_breaks_it(cursor: str) -> None:
    try:
        place_of(cursor, SEARCH)
    except Unreadable:
        return
    assert cursor.endswith(SEARCH)
