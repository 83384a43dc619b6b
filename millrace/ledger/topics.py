"""Names of the ledger's topics; a prefix keeps several ledgers on one cluster apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REQUESTS: Final = "cost.requests"
DECISIONS: Final = "cost.decisions"
ROWS: Final = "cost.rows"
SPEND: Final = "cost.spend"
ALERTS: Final = "cost.alerts"
REQUEST_ID_HEADER: Final = "ce_requestid"
"""CloudEvents extension attribute on decisions: readers find their answers without decoding everybody's."""


@dataclass(frozen=True)
class LedgerTopics:
    """Topics of one ledger. Schemas belong to the names without the prefix."""

    prefix: str = ""

    @property
    def requests(self) -> str:
        """What is asked, keyed by account."""
        return self.prefix + REQUESTS

    @property
    def decisions(self) -> str:
        """What is answered; read committed only."""
        return self.prefix + DECISIONS

    @property
    def rows(self) -> str:
        """The admission core's own state."""
        return self.prefix + ROWS

    @property
    def spend(self) -> str:
        """Spend by account, scope and window."""
        return self.prefix + SPEND

    @property
    def alerts(self) -> str:
        """Budgets that reached a threshold, or will."""
        return self.prefix + ALERTS

    @property
    def all(self) -> tuple[str, ...]:
        """All five."""
        return (self.requests, self.decisions, self.rows, self.spend, self.alerts)


NO_CAPS_YET: Final = "no caps are set yet: ask again once the ledger has started"
"""The only reason of an invalid decision that passes by itself."""
