"""How log lines look: for people, or one JSON object each; both name the share, the job and the trace they are about.

What they are about is what `about` has said in the same task, and in those that it has begun.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal

from opentelemetry import trace
from pythonjsonlogger.json import JsonFormatter

LogFormat = Literal["text", "json"]
LABELS: Final = ("share_id", "job", "trace_id")
_about: ContextVar[tuple[str | None, str | None]] = ContextVar("about", default=(None, None))


def about(share_id: str, job: str | None = None) -> None:
    """Lines of this task are from now on about a share, and a piece of work on it."""
    _about.set((share_id, job))


class Labels(logging.Filter):
    """Adds to each record what it is about, as `share_id`, `job` and `trace_id`; lets all through."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True; None is what nobody has said."""
        record.share_id, record.job = _about.get()
        here = trace.get_current_span().get_span_context()
        record.trace_id = f"{here.trace_id:032x}" if here.is_valid else None
        return True


class Lines(logging.Formatter):
    """For people: time, level, logger and message, and in brackets what it is about."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s%(labels)s")

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        said = [f"{name}={value}" for name in LABELS if (value := getattr(record, name, None)) is not None]
        record.labels = f" [{' '.join(said)}]" if said else ""
        return super().format(record)


class JsonLines(JsonFormatter):
    """For programs: `time` (ISO 8601, UTC), `level`, `logger`, `message`, `service`, and what it is about."""

    def __init__(self, service: str) -> None:
        super().__init__(static_fields={"service": service})

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """See `JsonFormatter.add_fields`."""
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"], log_data["logger"] = record.levelname, record.name
        super().add_fields(log_data, record, message_dict)
        for name in LABELS:
            if log_data.get(name) is None:
                log_data.pop(name, None)


def log_config(service: str, level: str, form: LogFormat) -> dict[str, Any]:
    """For `logging.config.dictConfig`: everything to stderr, from `level` on."""
    lines = {"()": JsonLines, "service": service} if form == "json" else {"()": Lines}
    handler = {"class": "logging.StreamHandler", "formatter": "lines", "filters": ["labels"]}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": lines},
        "filters": {"labels": {"()": Labels}},
        "handlers": {"stderr": handler},
        "root": {"level": level, "handlers": ["stderr"]},
    }
