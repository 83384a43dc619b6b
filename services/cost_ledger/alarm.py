"""Raises alerts: writes them down, publishes them, and notes in the spend tables that they are out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from millrace.clock import Clock, millis
from millrace.contracts.events import CostAlert
from services.cost_ledger import metrics
from services.cost_ledger.alerts import due
from services.cost_ledger.present import PresentWindows
from services.cost_ledger.recorder import Touched
from services.cost_ledger.spend import SpendBook, WindowName


class AlertOutput(Protocol):
    """A place where alerts go."""

    async def write(self, alerts: Sequence[CostAlert]) -> None:
        """Return when all are there for certain; one that comes again is recognised by its id.

        Raises what `millrace.store.pool.OUTAGES` names while a database is away.
        """
        ...


class LedgerAlarm:
    """The recorder's `Alarm`.

    What was announced is noted last, and the recorder's position after that: whoever takes over from a process that
    died before finds the same alerts due and raises them again, with the ids they had.
    """

    def __init__(self, outputs: Sequence[AlertOutput], present: PresentWindows, clock: Clock) -> None:
        self._outputs = outputs
        self._present = present
        self._clock = clock

    async def raise_for(self, book: SpendBook, touched: Sequence[Touched]) -> None:
        """See `Alarm.raise_for`; a row of the table is written only where something was raised."""
        now = self._clock.now()
        raised: dict[WindowName, list[CostAlert]] = {}
        for row, at in touched:
            self._present.note(row)
            name = WindowName(row.account, row.scope, millis(row.start))
            if found := due(row, book.said(name), at=at, now=now):
                raised[name] = found
        if not raised:
            return
        alerts = [alert for found in raised.values() for alert in found]
        for output in self._outputs:
            await output.write(alerts)
        for name, found in raised.items():
            book.note_said(name, found)
        for alert in alerts:
            metrics.ALERTS.labels(alert.kind, str(alert.percent)).inc()

    def forget(self) -> None:
        """See `Alarm.forget`."""
        self._present.forget()
