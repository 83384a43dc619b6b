"""One trace of a share, from the request over every agent and the ledger to the database, as a collector gets it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator

import pytest

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest
from millrace.testing.media import JFK_WAV
from tests.e2e.harness import Running, millrace_up
from tests.support.collector import Collector, Span, collecting
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

AGENTS = {"media_agent", "transcribe_agent", "summarize_agent", "embed_agent", "cost_ledger"}
SECRET_WORDS = "a sentence that no trace may hold"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as started:
        yield started


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Running]:
    """Everything, sending its traces to the collector."""
    environment = {
        "MILLRACE_OTLP_ENDPOINT": collector.url,
        "MILLRACE_LOG_FORMAT": "json",
        "MILLRACE_TRANSCRIBE_PRICE_PER_SECOND": "0.0001",
        "OPENAI_API_KEY": "",
    }
    with millrace_up(tmp_path_factory.mktemp("traced"), environment) as started:
        yield started


@pytest.fixture(scope="module")
def client(traced: Running) -> Iterator[Client]:
    with traced.client() as made:
        yield made


def trace_with(collector: Collector, share_id: str, services: set[str]) -> dict[str, list[Span]]:
    """Spans of the one trace that is about a share, by service, once each of `services` has told of its statements.

    They are sent every few seconds.
    """

    def found() -> dict[str, list[Span]]:
        spans = collector.spans()
        traces = {span.trace for span in spans if span.attributes.get("millrace.share_id") == share_id}
        assert len(traces) <= 1
        by_service: dict[str, list[Span]] = defaultdict(list)
        for span in spans:
            if span.trace in traces:
                by_service[span.service].append(span)
        known = {span.id for of in by_service.values() for span in of}
        told = {name for name, of in by_service.items() if any(is_statement(span) for span in of)}
        hang = [span for of in by_service.values() for span in of if span.parent and span.parent not in known]
        return by_service if services <= told and not hang else {}

    return until(found, f"one trace with {sorted(services)}", 60)


def is_statement(span: Span) -> bool:
    return span.attributes.get("db.system") == "postgresql"


def test_a_share_is_one_trace_from_its_request_to_the_database(client: Client, collector: Collector) -> None:
    share_id = client.upload(JFK_WAV, ShareRequest(title=SECRET_WORDS)).share_id
    assert client.wait(share_id, within_s=120).state == "done"
    client.search(SECRET_WORDS)
    spans = trace_with(collector, share_id, AGENTS | {"api_gateway"})
    (first,) = [span for span in spans["api_gateway"] if not span.parent]
    assert first.attributes["http.method"] == "POST"
    assert spans.keys() == AGENTS | {"api_gateway"}
    assert any(span.name.startswith("process share.created") for span in spans["media_agent"])
    assert any(span.name == "decide" for span in spans["cost_ledger"])
    models = [span for span in spans["transcribe_agent"] if span.name.startswith("call ")]
    assert [span.attributes["gen_ai.request.model"] for span in models] == ["tiny.en"]


def test_log_lines_are_json_and_name_the_share_and_its_trace(
    traced: Running, client: Client, collector: Collector
) -> None:
    share_id = client.upload(JFK_WAV, ShareRequest()).share_id
    assert client.wait(share_id, within_s=120).state == "done"
    trace_with(collector, share_id, {"media_agent"})
    logs = traced.ready_file.parent / "data" / "logs"
    for service in (*AGENTS, "api_gateway"):
        lines = (logs / f"{service}.log").read_text().splitlines()
        known = [json.loads(line) for line in lines if line.startswith("{")]
        assert {line["service"] for line in known} <= {service}
        assert not any("INFO" in line for line in lines if not line.startswith("{")), "no line in another form"
    text = (logs / "media_agent.log").read_text()
    told = [json.loads(line) for line in text.splitlines() if line.startswith("{") and "share_id" in line]
    assert told
    assert all(line["job"].startswith("media:") for line in told)
    assert {line["trace_id"] for line in told} <= {span.trace for span in collector.spans()}


def test_nothing_that_people_wrote_is_in_a_trace(collector: Collector) -> None:
    said = [" ".join([span.name, span.words, *span.attributes.values()]) for span in collector.spans()]
    assert any("/search" in text for text in said)
    for text in said:
        assert "no trace may hold" not in text.replace("%20", " ").replace("+", " ")
    assert {span.words for span in collector.spans()} == {""}
