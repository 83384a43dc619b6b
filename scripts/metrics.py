"""Writes docs/metrics.md from the metrics themselves: `python scripts/metrics.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from prometheus_client.metrics import MetricWrapperBase

from millrace.clock import SystemClock
from millrace.store.blobs import counters
from millrace.telemetry import fetching, metrics, ops, producing
from services.cost_ledger import metrics as ledger
from services.cost_ledger.present import PresentWindows
from services.embed_agent import metrics as embedding

TARGET = Path(__file__).parent.parent / "docs" / "metrics.md"
HEAD = """# Metrics

Every service has its own at `/metrics` of its ops port, for Prometheus; the gateway also at
`/api/ml/metrics/prometheus`, for whoever is signed in, and as JSON at `/api/ml/metrics/json`. Counters end in
`_total`; a histogram has `_bucket`, `_sum` and `_count`. This page is written by `python scripts/metrics.py` from the
metrics themselves.
"""


class Known(NamedTuple):
    """A metric: its name without endings, type, labels, and what it is."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


HTTP = Known(
    "ml_http_request_duration_seconds",
    "histogram",
    ("handler", "method", "status"),
    "Seconds of a request until its answer had begun; streams are left out.",
)


def of(module: ModuleType) -> Iterator[Known]:
    """The metrics that a module defines, in its order."""
    for value in vars(module).values():
        if isinstance(value, MetricWrapperBase):
            (family,) = value.collect()
            labels = tuple(value._labelnames)  # noqa: SLF001 - nothing public says them before there is a series
            yield Known(family.name, family.type, labels, family.documentation)


def present() -> Iterator[Known]:
    """Those of the ledger that are reckoned when they are asked for."""
    for family in PresentWindows(SystemClock()).collect():
        yield Known(family.name, family.type, tuple(family._labelnames), family.documentation)  # noqa: SLF001


def sections() -> dict[str, list[Known]]:
    """All metrics, by who has them."""
    return {
        "Every agent": list(of(metrics)),
        "media_agent": list(of(fetching)),
        "embed_agent": list(of(embedding)),
        "The agents and the gateway": list(of(counters)),
        "The agents and the ledger": list(of(ops)),
        "cost_ledger": [*of(ledger), *present()],
        "api_gateway": [*of(producing), HTTP],
    }


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, known in sections().items():
        rows = [
            f"| `{one.name}{'_total' if one.kind == 'counter' else ''}` | {one.kind} | "
            f"{', '.join(f'`{label}`' for label in one.labels)} | {one.text} |"
            for one in known
        ]
        parts.append(
            "\n".join([f"\n## {title}\n", "| metric | type | labels | |", "| --- | --- | --- | --- |", *rows, ""])
        )
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(page())
