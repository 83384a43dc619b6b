"""A ledger worker whose log is MILLRACE_TEST_SHIFT_MS later than it is: `python -m tests.integration.ledger_at`.

All workers of a test have the same shift, so the log's time is one and the same, only later.
"""

from __future__ import annotations

import dataclasses
import os

from confluent_kafka import Message

from services.cost_ledger import admission
from services.cost_ledger.__main__ import main
from services.cost_ledger.intake import Intake
from services.cost_ledger.state import Logged

SHIFT_MS = int(os.environ["MILLRACE_TEST_SHIFT_MS"])


class LaterIntake(Intake):
    """Takes each request to have been appended later than it was."""

    def logged(self, message: Message) -> Logged:
        """See `Intake.logged`."""
        found = super().logged(message)
        return dataclasses.replace(found, at_ms=found.at_ms + SHIFT_MS)


if __name__ == "__main__":
    admission.Intake = LaterIntake  # type: ignore[attr-defined]  # no clock of a broker can be set
    main()
