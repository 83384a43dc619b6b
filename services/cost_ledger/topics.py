"""The ledger's topics as the catalogue describes them, under the names that the settings give them."""

from __future__ import annotations

from typing import Final

from millrace.contracts.catalog import Catalog
from millrace.contracts.topics import TopicSpec
from millrace.ledger.topics import ALERTS, DECISIONS, REQUESTS, ROWS, SPEND
from services.cost_ledger.settings import NAME, LedgerSettings

HOURLY: Final = "hourly_spend"
DAILY: Final = "daily_spend"


def ledger_catalog(catalog: Catalog, settings: LedgerSettings) -> Catalog:
    """Only the ledger's topics, renamed; to provision and to verify them."""
    names = {name: settings.ledger_topic_prefix + name for name in (REQUESTS, DECISIONS, ROWS, SPEND, ALERTS)}
    names |= {changelog(NAME, table): changelog(settings.ledger_app_id, table) for table in (HOURLY, DAILY)}
    topics: dict[str, TopicSpec] = {
        new: catalog.topic(old).model_copy(update={"name": new}) for old, new in names.items()
    }
    return Catalog(topics, catalog.schemas)


def changelog(app_id: str, table: str) -> str:
    """Name of a Faust table's changelog topic."""
    return f"{app_id}-{table}-changelog"
