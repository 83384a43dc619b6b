"""Every metric of the cost ledger."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

DECISIONS = Counter("millrace_ledger_decisions", "Decisions that were committed", ["op", "outcome"])
COMMIT_SECONDS = Histogram(
    "millrace_ledger_commit_seconds",
    "Time to decide a batch and commit it",
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 5, 15),
)
LOAD_SECONDS = Gauge("millrace_ledger_load_seconds", "Time that reading a partition's rows took", ["partition"])
OPEN_HOLDS = Gauge("millrace_ledger_open_holds", "Holds that are neither settled nor released", ["partition"])
JOURNALED = Counter("millrace_ledger_journal_entries", "Decisions that were written to the journal")
"""Decisions that are in PostgreSQL; compare with `millrace_ledger_decisions` to see the journal's lag."""
ALERTS = Counter("millrace_ledger_alerts", "Alerts that were raised, repeats after a crash too", ["kind", "percent"])
