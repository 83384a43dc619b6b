"""A process whose collector is away works, and ends, as any other."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

from millrace.stream.worker import STOP_WITHIN_S
from tests.support.collector import collecting

PROGRAM = """
import logging, sys
from aiokafka import AIOKafkaConsumer
from opentelemetry.baggage import set_baggage
from opentelemetry.propagate import inject
from millrace.settings import TraceSettings
from millrace.telemetry.logs import quieten_libraries
from millrace.tracing.opening import tracing
from millrace.tracing.spans import BEFORE_HEADER, processing, recording, span, together, trace_of
OLD, OTHER = sys.argv[4:]
logging.basicConfig(level="WARNING")
quieten_libraries()
with tracing("program", TraceSettings(MILLRACE_OTLP_ENDPOINT=sys.argv[1], trace_ratio=float(sys.argv[2]))):
    assert recording()
    assert not trace_of(None).sampled, "it belongs to nothing that was chosen"
    assert not hasattr(AIOKafkaConsumer.getmany, "__wrapped__"), "it fails at headers that are not UTF-8"
    for number in range(int(sys.argv[3])):
        with processing("embed", ("transcript.ready", 0), number, {BEFORE_HEADER: OLD.encode()}), span("inner"):
            carried = {}
            inject(carried, set_baggage("said", "by a client"))
            assert "baggage" not in carried
    with together("record", [None, b"nonsense", OLD.encode(), OTHER.encode()]):
        pass
"""
OLD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01"


START_S = 6.0
"""For Python and the libraries, on a machine that does other things, too."""


def run(endpoint: str, ratio: float = 1.0, records: int = 3) -> tuple[float, str]:
    began = time.monotonic()
    argv = [sys.executable, "-c", PROGRAM, endpoint, str(ratio), str(records), OLD, OTHER]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began, done.stderr


def test_the_last_spans_are_sent_before_the_end() -> None:
    with collecting() as collector:
        run(collector.url)
        spans = collector.spans()
    work = [span for span in spans if span.name == "process transcript.ready"]
    assert [span.attributes["messaging.kafka.offset"] for span in work] == ["0", "1", "2"]
    assert [span.trace for span in spans if span.name == "inner"] == [span.trace for span in work]
    assert {span.service for span in spans} == {"program"}
    assert {span.links for span in work} == {(OLD[3:35],)}, "each in a trace of its own"
    assert len({span.trace for span in work} | {OLD[3:35]}) == 4
    (record,) = [span for span in spans if span.name == "record"]
    assert (record.trace, record.links) == (OLD[3:35], (OTHER[3:35],))


def test_of_no_traces_none_is_sent() -> None:
    with collecting() as collector:
        run(collector.url, 0.0)
        assert {span.trace for span in collector.spans()} == {OLD[3:35]}, "but what another has begun"


def test_a_collector_that_is_away_holds_up_no_end() -> None:
    with collecting() as collector:
        endpoint = collector.url
    took, said = run(endpoint, records=2000)
    assert took < STOP_WITHIN_S + START_S
    assert len(said.splitlines()) < 6, said


def test_nor_does_one_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        took, _ = run(f"http://127.0.0.1:{silent.getsockname()[1]}", records=2000)
    assert took < STOP_WITHIN_S + START_S
