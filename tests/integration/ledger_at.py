"""A ledger worker whose time is another: `python -m tests.integration.ledger_at`.

MILLRACE_TEST_SHIFT_MS: its log is so much later than it is. All workers of a test have the same shift, so the log's
time is one and the same, only later. MILLRACE_TEST_HOUR_MS and …_DAY_MS: how long its windows are.
"""

from __future__ import annotations

import dataclasses
import os

from confluent_kafka import Message

from services.cost_ledger import admission, windows
from services.cost_ledger.__main__ import main
from services.cost_ledger.intake import Intake
from services.cost_ledger.state import Logged

SHIFT_MS = int(os.environ.get("MILLRACE_TEST_SHIFT_MS", "0"))


class LaterIntake(Intake):
    """Takes each request to have been appended later than it was."""

    def logged(self, message: Message) -> Logged:
        """See `Intake.logged`."""
        found = super().logged(message)
        return dataclasses.replace(found, at_ms=found.at_ms + SHIFT_MS)


if __name__ == "__main__":
    for window in windows.WINDOWS:
        length = os.environ.get(f"MILLRACE_TEST_{window.upper()}_MS")
        if length is not None:
            windows.LENGTH_MS[window] = int(length)
    admission.Intake = LaterIntake  # type: ignore[attr-defined]  # no clock of a broker can be set
    main()
