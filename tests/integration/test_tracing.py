"""A process whose collector is away works, and ends, as any other."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.support.collector import collecting

PROGRAM = """
import logging, sys
from millrace.settings import TraceSettings
from millrace.telemetry.logs import quieten_libraries
from millrace.tracing.opening import tracing
from millrace.tracing.spans import processing, recording, span
logging.basicConfig(level="WARNING")
quieten_libraries()
with tracing("program", TraceSettings(MILLRACE_OTLP_ENDPOINT=sys.argv[1], trace_ratio=float(sys.argv[2]))):
    assert recording()
    for number in range(3):
        with processing("embed", ("transcript.ready", 0), number, {}), span("inner"):
            pass
"""


def run(endpoint: str, ratio: float = 1.0) -> tuple[float, str]:
    began = time.monotonic()
    argv = [sys.executable, "-c", PROGRAM, endpoint, str(ratio)]
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


def test_of_no_traces_none_is_sent() -> None:
    with collecting() as collector:
        run(collector.url, 0.0)
        assert collector.spans() == []


def test_a_collector_that_is_away_holds_up_no_end() -> None:
    with collecting() as collector:
        endpoint = collector.url
    took, said = run(endpoint)
    assert took < 8 + 5, "a stop has eight seconds, and Python takes a few to start"
    assert len(said.splitlines()) < 6, said
