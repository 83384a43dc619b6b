"""Traces as settings ask for them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from millrace.errors import ConfigurationError
from millrace.settings import TraceSettings


def tracing(service: str, settings: TraceSettings) -> AbstractContextManager[None]:
    """Record what the process does while the context is open, if a collector is named.

    :raises ConfigurationError: one is, and the extra `traces` is not installed.
    """
    if settings.otlp_endpoint is None:
        return nullcontext()
    try:
        # Late: what it imports is nothing to a process whose traces nobody wants.
        from millrace.tracing.exporting import exporting  # noqa: PLC0415
    except ImportError as exc:
        raise ConfigurationError(
            f"MILLRACE_OTLP_ENDPOINT is set, but {exc.name} is missing: install millrace[traces]."
        ) from exc
    return exporting(service, settings.otlp_endpoint, settings.trace_ratio)
