from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.store.blobs.metadata import LIMIT_BYTES, decode, encode

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


def size(encoded: dict[str, str]) -> int:
    return sum(len("x-amz-meta-") + len(name) + len(text) for name, text in encoded.items())


@given(st.dictionaries(NAMES, ANY_TEXT, max_size=2))
def test_any_text_comes_back_and_travels_as_plain_ascii(metadata: dict[str, str]) -> None:
    encoded = encode(metadata)
    for text in encoded.values():
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set(' ,"=?')
    assert decode(encoded) == {name: text for name, text in metadata.items() if text}


@given(st.dictionaries(NAMES, st.text(st.characters(exclude_categories=()), max_size=2000), max_size=5))
def test_what_is_too_long_is_cut_between_characters(metadata: dict[str, str]) -> None:
    encoded = encode(metadata)
    assert size(encoded) <= LIMIT_BYTES
    for name, text in decode(encoded).items():
        assert text == metadata[name] or metadata[name].startswith(text.removesuffix("…"))


def test_the_longest_text_is_cut_first_and_says_so() -> None:
    kept = decode(encode({"title": "\N{PARTY POPPER}" * 1000, "format": "mp4", "artist": "b" * 300}))
    assert (kept["format"], kept["artist"]) == ("mp4", "b" * 300)
    assert kept["title"].removesuffix("…") == "\N{PARTY POPPER}" * (len(kept["title"]) - 1)
    assert len(kept["title"]) > 100


def test_one_text_may_use_the_whole_limit() -> None:
    room = LIMIT_BYTES - len("x-amz-meta-title")
    assert decode(encode({"title": "a" * room})) == {"title": "a" * room}
    assert decode(encode({"title": "a" * (room + 1)}))["title"] == "a" * (room - len("%E2%80%A6")) + "…"


def test_what_names_leave_no_room_for_is_left_out() -> None:
    encoded = encode({f"{'n' * 60}-{n}": "a" for n in range(100)})
    assert encoded
    assert size(encoded) <= LIMIT_BYTES


def test_servers_that_write_names_large_are_understood() -> None:
    assert decode({"Title": "a%20b"}) == {"title": "a b"}


@pytest.mark.parametrize("name", ["", "Title", "a b", "ä", "a" * 65, "-a"])
def test_names_are_ours_and_plain(name: str) -> None:
    with pytest.raises(ValueError, match="name of metadata"):
        encode({name: "x"})
