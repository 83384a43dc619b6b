"""Every metric of the job core, in one place; names and labels are part of the contract with dashboards."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

TASKS = Counter("ml_tasks", "Jobs that ended, by how they ended.", ["stage", "state"])
TASK_SECONDS = Histogram(
    "ml_task_duration_seconds",
    "Seconds from taking a job to its end.",
    ["stage"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 900),
)
TASK_ERRORS = Counter("ml_task_errors", "Tries that failed, by the error's route.", ["stage", "error"])
OVERDUE = Counter("ml_overdue_tasks", "Jobs that ran longer than their stage's soft limit.", ["stage"])
ACTIVE_TASKS = Gauge("ml_active_tasks", "Jobs running now.", ["stage"])
HELD_RECORDS = Gauge("ml_held_records", "Records read and not acknowledged yet.", ["stage"])
LAG = Gauge("ml_consumer_lag", "Records behind the end of the topic.", ["stage", "topic", "partition"])
REALTIME_FACTOR = Histogram(
    "ml_realtime_factor",
    "Seconds that a speech model took for a second of sound: below 1 it is faster than the speaker.",
    ["backend", "model"],
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
COST = Counter("ml_cost_dollars", "US dollars that calls really cost.", ["stage", "model"])
BUDGET_EXCEEDED = Counter("ml_budget_exceeded", "Holds that the ledger refused.", ["stage", "cap"])
DEAD_LETTERS = Counter("ml_dead_letters", "Messages given up on.", ["stage"])
PAUSED = Gauge("ml_stage_paused", "1 while too many jobs end as dead letters and no new one is taken.", ["stage"])

RETRIES = Counter("ml_task_retries", "Jobs that wait for another try after one that failed.", ["stage"])
LEASE_WAITS = Counter("ml_lease_waits", "Jobs that wait for another worker that does the same work.", ["stage"])
SKIPPED = Counter("ml_tasks_skipped", "Jobs without a result to speak of, by reason.", ["stage", "reason"])
WORKER = Gauge("ml_worker_info", "1; what runs here.", ["stage", "version", "works_on"])
MODEL_SECONDS = Histogram(
    "ml_model_latency_seconds",
    "Seconds of a model's call, whatever came of it.",
    ["stage", "model"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
TOKENS = Counter("ml_tokens_processed", "Tokens that models have read or written.", ["stage", "model", "direction"])
AUDIO_SECONDS = Counter("ml_audio_duration_seconds", "Seconds of sound that models have heard.", ["stage", "model"])


def begin(stage: str) -> None:
    """Show a stage's counts at 0: to Prometheus a series that begins with 1 has not risen, and alerts nobody."""
    for counter in (OVERDUE, DEAD_LETTERS, RETRIES, LEASE_WAITS):
        counter.labels(stage)
    for state in ("done", "skipped", "failed", "cancelled"):
        TASKS.labels(stage, state)
