"""Metrics of fetching, by the way that media came: `direct`, `ytdlp` or `caption`."""

from __future__ import annotations

import logging

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

log = logging.getLogger(__name__)

FETCHES = Counter("ml_fetches", "Fetches that ended, by way and outcome.", ["way", "outcome"])
FETCH_SECONDS = Histogram(
    "ml_fetch_duration_seconds",
    "Seconds of a fetch, extraction included.",
    ["way"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)
FETCH_BYTES = Counter("ml_fetch_bytes", "Bytes that were read for fetches.", ["way"])
FETCH_CACHE = Counter("ml_fetch_cache", "Extractions that were looked up, and whether they were known.", ["found"])
FETCH_REFUSED = Counter("ml_fetch_refused", "Targets that were not connected to, by reason.", ["reason"])

FETCH_SEAL = Gauge("ml_fetch_kernel_seal", "Version of Landlock that fences a child in; 0: none.", ["child"])

_ALL: tuple[MetricWrapperBase, ...] = (FETCHES, FETCH_SECONDS, FETCH_BYTES, FETCH_CACHE, FETCH_REFUSED, FETCH_SEAL)


_noted: dict[str, int] = {}


def note_seal(child: str, kernel: int) -> None:
    """Show which version of Landlock fences a kind of child in (0: none), and log it when it is new."""
    FETCH_SEAL.labels(child).set(kernel)
    if _noted.get(child) != kernel:
        _noted[child] = kernel
        log.info("The child `%s`: %s", child, f"fenced in by Landlock {kernel}" if kernel else "no kernel fence")


def fetch_figures() -> dict[str, float]:
    """All figures of this process since its start, by name and labels, without histogram buckets.

    For instance `{"ml_fetches_total{outcome=done,way=direct}": 3.0}`.
    """
    figures = {}
    for sample in (sample for metric in _ALL for family in metric.collect() for sample in family.samples):
        if not sample.name.endswith(("_created", "_bucket")):
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            figures[f"{sample.name}{{{labels}}}"] = sample.value
    return figures
