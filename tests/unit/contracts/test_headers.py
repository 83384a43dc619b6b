"""Headers as CloudEvents' Kafka binding and W3C trace context want them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.headers import (
    TraceParent,
    continue_trace,
    header,
    headers,
    new_trace,
    parse_traceparent,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"


def test_an_event_has_the_required_attributes_in_binary_mode() -> None:
    got = headers(
        "share.created",
        "id-1",
        source="api_gateway",
        subject="größe",
        time=datetime(2026, 1, 15, 11, 0, 0, 123999, timezone(timedelta(hours=1))),
        traceparent=VALID,
    )
    assert len(got) == 8
    assert dict(got) == {
        "ce_specversion": b"1.0",
        "ce_id": b"id-1",
        "ce_source": b"/api_gateway",
        "ce_type": b"io.millrace.share.created",
        "ce_time": b"2026-01-15T10:00:00.123Z",
        "ce_subject": "größe".encode(),
        "content-type": b"application/vnd.confluent.avro",
        "traceparent": VALID.encode(),
    }


def test_a_time_without_zone_is_refused() -> None:
    moment = datetime(2026, 1, 15, tzinfo=UTC).replace(tzinfo=None)
    with pytest.raises(ValueError, match="time zone"):
        headers("share.created", "1", source="s", subject="s", time=moment, traceparent=VALID)


def test_a_trace_goes_on_with_a_new_span() -> None:
    following = continue_trace(VALID.encode())
    assert following.trace_id == TRACE
    assert following.span_id != SPAN
    assert following.sampled
    assert parse_traceparent(str(following)) == following


def test_a_trace_that_is_not_recorded_stays_so() -> None:
    assert str(continue_trace(f"00-{TRACE}-{SPAN}-00")).endswith("-00")


@pytest.mark.parametrize(
    "broken",
    [
        None,
        "",
        b"\xff\xfe",
        VALID.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{VALID}-more",
        f"{VALID}\n",
        f"01-{TRACE}-{SPAN}-01more",
        f"00-{TRACE[:-1]}-{SPAN}-01",
    ],
)
def test_nonsense_begins_a_new_trace(broken: str | bytes | None) -> None:
    assert parse_traceparent(broken) is None
    fresh = continue_trace(broken)
    assert fresh.trace_id != TRACE
    assert parse_traceparent(str(fresh)) == fresh


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-03-what-comes") == TraceParent(TRACE, SPAN, sampled=True)


@given(st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.*"))
def test_whatever_is_received_a_valid_header_is_sent(received: str) -> None:
    assert re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]", str(continue_trace(received)))


def test_ids_of_zeros_are_drawn_again() -> None:
    draws = iter([bytes(16), b"\x01" * 16, bytes(8), b"\x02" * 8])
    assert new_trace(lambda _: next(draws)) == TraceParent("01" * 16, "02" * 8)


def test_the_last_of_repeated_headers_counts() -> None:
    received = [("a", b"1"), ("b", b"2"), ("a", b"3"), ("c", b"\xff")]
    assert header(received, "a") == "3"
    assert header(received, "c") is None
    assert header(None, "a") is None
