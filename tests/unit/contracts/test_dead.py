"""Dead letters carry the original message and how it died, and can be read whatever lies on their topics."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.dead import Death, Place, headers_of, place, read

DIED_AT = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
WRITTEN_AT = datetime(2030, 1, 2, tzinfo=UTC)
AT = Place("summarize.dead", 2, 7)
DEATH = Death(
    stage="summarize",
    key=b"share",
    value=b"\0bytes",
    headers={"traceparent": b"00-x", "odd": b"\xff"},
    origin=Place("share.created", 3, 17),
    round="share.created-3@17",
    share_id="share",
    error="Poison",
    reason="never",
    stack="line\nline",
    attempts=2,
    work_key="summarize:abc",
    options={"model": "größer"},
    service="millrace-summarize-agent",
    died_at=DIED_AT,
)


def test_the_evidence_is_read_as_it_was_written() -> None:
    letter = read(AT, DEATH.key, DEATH.value, headers_of(DEATH), WRITTEN_AT)
    for name in ("id", "stage", "key", "value", "headers", "origin", "share_id", "error", "reason", "stack"):
        assert getattr(letter, name) == getattr(DEATH, name), name
    for name in ("attempts", "work_key", "options", "service", "died_at"):
        assert getattr(letter, name) == getattr(DEATH, name), name
    assert letter.at == AT


def test_one_round_has_one_id_and_another_message_has_another() -> None:
    assert replace(DEATH, reason="later", died_at=WRITTEN_AT, attempts=9).id == DEATH.id
    others = [
        replace(DEATH, round="redrive:1"),
        replace(DEATH, key=b"sharee", value=b"\0byte"),
        replace(DEATH, key=b""),
    ]
    assert len({DEATH.id, *(other.id for other in others)}) == 4


def test_evidence_never_makes_a_message_too_large_and_cut_options_are_not_believed() -> None:
    huge = replace(DEATH, reason="r" * 9999, stack="s" * 99_999, options={"\1" * 5000: ""})
    headers = headers_of(huge)
    assert sum(len(raw) for _, raw in headers) < 15_000
    assert read(AT, b"", b"", headers, WRITTEN_AT).options is None


def test_a_letter_that_dies_again_has_the_evidence_of_its_last_death_only() -> None:
    again = replace(DEATH, headers=dict(headers_of(DEATH)), error="Retryable")
    letter = read(AT, DEATH.key, DEATH.value, headers_of(again), WRITTEN_AT)
    assert (letter.error, dict(letter.headers)) == ("Retryable", dict(DEATH.headers))


@given(headers=st.lists(st.tuples(st.text(), st.none() | st.binary())), key=st.binary(), value=st.binary())
def test_anything_on_the_topic_can_be_read(headers: list[tuple[str, bytes | None]], key: bytes, value: bytes) -> None:
    letter = read(AT, key, value, headers, WRITTEN_AT)
    assert (letter.origin, letter.error, letter.died_at, letter.share_id) == (None, "Unknown", WRITTEN_AT, None)
    assert letter.id == read(AT, key, value, [], DIED_AT).id


_NAMES = [name for name, _ in headers_of(DEATH)]


@given(headers=st.dictionaries(st.sampled_from(_NAMES), st.binary() | st.text().map(str.encode)))
def test_evidence_that_somebody_made_up_can_be_kept(headers: dict[str, bytes]) -> None:
    letter = read(AT, b"", b"", headers.items(), WRITTEN_AT)
    texts = (letter.error, letter.reason, letter.stack, letter.service, letter.share_id, letter.work_key)
    assert not any("\0" in text for text in texts if text)
    assert 0 <= letter.attempts < 2**31
    assert letter.died_at.tzinfo is UTC


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2030-01-02", "soon"])
def test_a_time_that_is_none_is_that_of_the_message(text: str) -> None:
    letter = read(AT, b"", b"", [("millrace-died-at", text.encode())], WRITTEN_AT)
    assert letter.died_at == WRITTEN_AT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("share.created-3@17", Place("share.created", 3, 17)),
        ("share.created", Place("share.created")),
        ("a-b-1@2", Place("a-b", 1, 2)),
        ("share.created@1", None),
        ("a-1@99999999999999999999", None),
        ("", None),
        ("a b", None),
    ],
)
def test_a_place_is_read_or_is_none(text: str, expected: Place | None) -> None:
    found = place(text)
    assert found == expected
    assert found is None or str(found) == text
