"""The metrics of this process as JSON."""

from __future__ import annotations

from math import isfinite

from prometheus_client.registry import Collector, CollectorRegistry

from millrace.contracts.analytics_api import Metric, MetricsAnswer, Sample


def metric_figures(registry: CollectorRegistry | Collector) -> MetricsAnswer:
    """The same figures as /metrics has, but for the times at which series began."""
    return MetricsAnswer(
        metrics=[
            Metric(
                name=family.name,
                type=family.type,
                help=family.documentation,
                samples=[
                    Sample(name=one.name, labels=dict(one.labels), value=one.value if isfinite(one.value) else None)
                    for one in family.samples
                ],
            )
            for family in registry.collect()
        ]
    )
