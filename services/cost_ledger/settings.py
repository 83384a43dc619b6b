"""Settings of the cost ledger, read once from the environment (`MILLRACE_…`)."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from millrace.ledger.topics import LedgerTopics
from millrace.settings import WorkerSettings

NAME: Final = "millrace-cost-ledger"
"""What the ledger is called on the console and, unless it is told otherwise, in Kafka."""
SERVICE: Final = "cost_ledger"
"""Its name in logs and traces."""


class LedgerSettings(WorkerSettings):
    """What the ledger has besides the addresses of the other parts."""

    drain_s: float = Field(default=5.0, ge=0, description="How long a stop waits for the batch in flight")
    ledger_role: Literal["all", "admission", "spend"] = Field(
        default="all",
        description="What this process does: admission decides, spend keeps the tables and the journal. Apart, "
        "admission answers several times faster",
    )
    budgets: Path | None = Field(default=None, description="Budgets file; by default the one that is packaged")
    ledger_app_id: str = Field(
        default=NAME,
        description="Consumer group and prefix of transactional ids; names the changelog topics too",
    )
    ledger_topic_prefix: str = Field(default="", description="Put before the cost topics' names")

    @property
    def topics(self) -> LedgerTopics:
        """The ledger's topics."""
        return LedgerTopics(self.ledger_topic_prefix)
