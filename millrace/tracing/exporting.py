"""Sends spans to an OpenTelemetry collector, and has libraries make theirs: statements and messages that are sent.

Only `millrace.tracing.opening` imports it, when a collector is named: the packages come with the extra `traces`.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from aiokafka import AIOKafkaConsumer
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.utils import unwrap
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, Status
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes, AttributeValue

EXPORT_WITHIN_S: Final = 3.0
"""For one request to the collector: a stop waits for the last one, and has eight seconds."""
_OF_PEOPLE: Final = frozenset(
    {
        *("net.peer.ip", "client.address", "http.client_ip", "http.user_agent", "user_agent.original"),
        "messaging.kafka.message.key",  # an account's name, or what a foreign message had
    }
)
_URLS: Final = ("http.url", "http.target", "url.full")
_BEGIN: Final = (SpanKind.SERVER, SpanKind.CONSUMER, SpanKind.INTERNAL)


@contextmanager
def exporting(service: str, endpoint: str, ratio: float) -> Iterator[None]:
    """Record what the process does while the context is open; only once in a process.

    :param endpoint: base URL of the collector (OTLP over HTTP, protobuf).
    :param ratio: of the traces that begin here, 0 to 1; others are recorded when those who began them do.
    """
    instance = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.instance.id": instance}),
        sampler=WorthKeeping(ratio),
        span_limits=SpanLimits(max_events=0),  # libraries' events quote errors, and those quote values
        shutdown_on_exit=False,
    )
    url = f"{endpoint.rstrip('/')}/v1/traces"
    exporter = _Discreet(OTLPSpanExporter(url, timeout=EXPORT_WITHIN_S))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    # Whatever the environment says: by default what a client calls its baggage would go on into Kafka.
    propagate.set_global_textmap(TraceContextTextMapPropagator())
    libraries = AsyncPGInstrumentor(), AIOKafkaInstrumentor()  # type: ignore[no-untyped-call]
    for library in libraries:
        library.instrument(tracer_provider=provider, raise_exception_on_conflict=True)
    for method in ("getone", "getmany"):  # fails at headers that are not UTF-8, and nobody wants its spans
        unwrap(AIOKafkaConsumer, method)
    try:
        yield
    finally:
        for library in libraries:
            library.uninstrument()
        exporter.end_within(EXPORT_WITHIN_S)
        provider.shutdown()


class WorthKeeping(Sampler):
    """Of the spans that libraries make too, those that are about a share.

    A trace begins with a request or a message that is worked on: no statement begins one, those that look for work
    ask every second. That a message was read is nobody's work yet, and all services read the ledger's answers.
    """

    def __init__(self, ratio: float) -> None:
        begun = TraceIdRatioBased(ratio)
        self._below = ParentBased(begun)
        self._said = f"WorthKeeping{{{ratio}}}"

    def should_sample(  # noqa: PLR0917 - its signature there
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See `Sampler.should_sample`."""
        begins = not trace.get_current_span(parent_context).get_span_context().is_valid
        dropped = name.endswith(" receive") or (begins and kind not in _BEGIN)
        chosen = ALWAYS_OFF if dropped else self._below
        return chosen.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """See `Sampler.get_description`."""
        return self._said


class _Discreet(SpanExporter):
    """Leaves out what people have written: libraries put an error's text into a status and what a request asks, the
    words of a search, into its URL.
    """

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._until = float("inf")

    def end_within(self, seconds: float) -> None:
        """Begin no request later than that: a stop would otherwise wait for each batch that is left."""
        self._until = time.monotonic() + seconds

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter.export`."""
        if time.monotonic() > self._until:
            return SpanExportResult.FAILURE
        return self._inner.export([discreet(span) for span in spans])

    def shutdown(self) -> None:
        """See `SpanExporter.shutdown`."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanExporter.force_flush`."""
        return self._inner.force_flush(timeout_millis)


def discreet(span: ReadableSpan) -> ReadableSpan:
    """A span without the words of its status and without queries."""
    known = span.attributes or {}
    return ReadableSpan(
        span.name,
        span.context,
        span.parent,
        span.resource,
        {name: _shown(name, value) for name, value in known.items() if name not in _OF_PEOPLE},
        (),
        span.links,
        span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _shown(name: str, value: AttributeValue) -> AttributeValue:
    if name == "url.query":
        return ""
    return value.partition("?")[0] if name in _URLS and isinstance(value, str) else value
