"""Counts that alerts look at."""

from __future__ import annotations

from prometheus_client import REGISTRY

from millrace.telemetry import metrics


def test_a_stage_begins_with_nothing_given_up_on() -> None:
    metrics.begin("toy")
    for name in ("ml_dead_letters_total", "ml_overdue_tasks_total", "ml_task_retries_total", "ml_lease_waits_total"):
        assert REGISTRY.get_sample_value(name, {"stage": "toy"}) == 0, name
    for state in ("done", "skipped", "failed", "cancelled"):
        assert REGISTRY.get_sample_value("ml_tasks_total", {"stage": "toy", "state": state}) == 0, state
