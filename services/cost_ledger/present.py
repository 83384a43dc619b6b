"""Gauges of the present hour's and day's budgets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from millrace.clock import Clock
from millrace.contracts.events import CostSpend
from services.cost_ledger.alerts import end_of, used_of

MAX_ACCOUNTS: Final = 100
"""Accounts that have series of their own, first come first served; a metric with a label of unbounded many values
would bring the monitoring down. Alerts, topics and the API know every account."""
_LABELS: Final = ("account", "scope", "window")


class PresentWindows(Collector):
    """Windows with a cap in which something has moved since this process has their partition.

    Computed when it is asked: a window that is over has no series, though nothing has happened since.
    """

    def __init__(self, clock: Clock, *, max_accounts: int = MAX_ACCOUNTS) -> None:
        self._clock = clock
        self._max_accounts = max_accounts
        self._rows: dict[tuple[str, str, str], CostSpend] = {}
        self._accounts: set[str] = set()

    def note(self, row: CostSpend) -> None:
        """Take a window's row; one of an older window changes nothing."""
        key = (row.account, row.scope, row.window)
        known = self._rows.get(key)
        if known is not None and known.start > row.start:
            return
        if row.cap_micro_usd is None:
            self._rows.pop(key, None)
        elif row.account in self._accounts or self._has_room():
            self._accounts.add(row.account)
            self._rows[key] = row

    def forget(self) -> None:
        """Partitions move."""
        self._rows.clear()
        self._accounts.clear()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """What is left, and the used part of the cap, of each window that is not over."""
        left = GaugeMetricFamily(
            "ml_budget_remaining_dollars",
            "US dollars that can still be granted in the present window",
            labels=_LABELS,
        )
        ratio = GaugeMetricFamily(
            "ml_budget_usage_ratio", "Part of the cap that is settled, held or unconfirmed", labels=_LABELS
        )
        percent = GaugeMetricFamily(
            "ml_vector_budget_usage_percentage", "The same of vectors, in per cent", labels=("account", "window")
        )
        self._drop_what_is_over()
        for key, row in self._rows.items():
            used, cap = used_of(row), row.cap_micro_usd or 0
            left.add_metric(key, max(0, cap - used) / 1_000_000)
            # Of a cap of nothing all is used.
            part = used / cap if cap else 1.0
            ratio.add_metric(key, part)
            if row.scope == "embed":
                percent.add_metric((row.account, row.window), 100 * part)
        return (left, ratio, percent)

    def _has_room(self) -> bool:
        if len(self._accounts) >= self._max_accounts:
            self._drop_what_is_over()
        return len(self._accounts) < self._max_accounts

    def _drop_what_is_over(self) -> None:
        now = self._clock.now()
        self._rows = {key: row for key, row in self._rows.items() if now < end_of(row)}
        self._accounts = {account for account, _, _ in self._rows}
