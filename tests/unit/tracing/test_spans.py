"""What a message carries when spans are recorded, and when nobody records them."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from millrace.contracts.headers import TRACE_HEADER, parse_traceparent
from millrace.tracing.exporting import WorthKeeping, discreet
from millrace.tracing.spans import processing, sending, span, together, trace_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
RECEIVED = f"00-{TRACE}-{SPAN}-01"


def test_what_is_sent_carries_the_span_that_is_under_way() -> None:
    here = SpanContext(int(TRACE, 16), 77, is_remote=False, trace_flags=TraceFlags(0))
    with trace.use_span(NonRecordingSpan(here)):
        assert str(trace_of("00-" + "1" * 32 + "-" + "2" * 16 + "-01")) == f"00-{TRACE}-{77:016x}-00"


def test_without_one_it_goes_on_with_the_trace_that_came_or_begins_one() -> None:
    carried = trace_of(RECEIVED)
    assert (carried.trace_id, carried.sampled) == (TRACE, True)
    assert carried.span_id != SPAN
    assert parse_traceparent(str(trace_of(None))) is not None
    assert parse_traceparent(str(trace_of("nonsense"))) is not None


def test_work_on_a_record_belongs_to_its_trace_whether_or_not_it_is_recorded() -> None:
    with processing("embed", ("transcript.ready", 3), 17, {TRACE_HEADER: RECEIVED.encode()}):
        with span("inner"):
            assert trace_of(None).trace_id == TRACE
        with sending([(TRACE_HEADER, b"as it is"), ("ce_id", b"1")]) as headers:
            assert headers == [(TRACE_HEADER, b"as it is"), ("ce_id", b"1")], "no library adds its own"
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_record_without_a_trace_is_worked_on_all_the_same() -> None:
    for headers in ({}, {TRACE_HEADER: b"\xff"}, {TRACE_HEADER: b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"}):
        with processing("embed", ("transcript.ready", 3), 17, headers), together("record", headers.values()):
            assert not trace.get_current_span().get_span_context().is_valid


def test_an_error_passes_through() -> None:
    with pytest.raises(KeyError, match="somebody"), processing("embed", ("t", 0), 1, {}), span("inner"):
        raise KeyError("a text of somebody's")


@pytest.mark.parametrize(
    ("name", "kind", "kept"),
    [
        ("GET /search", SpanKind.SERVER, True),
        ("process share.created", SpanKind.CONSUMER, True),
        ("SELECT", SpanKind.CLIENT, False),
        ("task.status send", SpanKind.PRODUCER, False),
        ("cost.decisions receive", SpanKind.CONSUMER, False),
    ],
)
def test_a_trace_begins_with_a_request_or_with_work(*, name: str, kind: SpanKind, kept: bool) -> None:
    expected = Decision.RECORD_AND_SAMPLE if kept else Decision.DROP
    assert WorthKeeping(1.0).should_sample(None, 5, name, kind).decision == expected
    assert WorthKeeping(0.0).should_sample(None, 5, name, kind).decision == Decision.DROP


@pytest.mark.parametrize("flags", [TraceFlags.SAMPLED, TraceFlags.DEFAULT])
def test_what_others_have_begun_is_kept_when_they_do(flags: int) -> None:
    above = SpanContext(int(TRACE, 16), 77, is_remote=True, trace_flags=TraceFlags(flags))
    within = trace.set_span_in_context(NonRecordingSpan(above))
    kept = Decision.RECORD_AND_SAMPLE if flags else Decision.DROP
    assert WorthKeeping(0.0).should_sample(within, 5, "SELECT", SpanKind.CLIENT).decision == kept
    read = WorthKeeping(1.0).should_sample(within, 5, "cost.decisions receive", SpanKind.CONSUMER)
    assert read.decision == Decision.DROP


def test_what_people_wrote_is_left_out_of_what_is_exported() -> None:
    written = ReadableSpan(
        "GET /search",
        attributes={
            "http.url": "http://h/search?q=my words",
            "http.target": "/search?q=my words",
            "url.query": "q=my words",
            "http.status_code": 500,
            "http.user_agent": "somebody's browser",
            "net.peer.ip": "203.0.113.7",
            "messaging.kafka.message.key": "somebody",
            "db.statement": "SELECT $1",
        },
        status=Status(StatusCode.ERROR, "ValueError: my words"),
    )
    shown = discreet(written)
    assert shown.attributes == {
        "http.url": "http://h/search",
        "http.target": "/search",
        "url.query": "",
        "http.status_code": 500,
        "db.statement": "SELECT $1",
    }
    assert (shown.status.status_code, shown.status.description) == (StatusCode.ERROR, None)
    assert shown.name == "GET /search"
