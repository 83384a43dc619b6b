"""Settings of the cost ledger, read once from the environment (`MILLRACE_…`)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from millrace.ledger.topics import LedgerTopics


class LedgerSettings(BaseSettings):
    """Where the other parts are, and the budgets. The ledger needs no media store, so it is not told of one."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_", frozen=True, extra="ignore")

    kafka: str = Field(description="Bootstrap address, host:port")
    registry: str = Field(description="Base URL of the schema registry's Confluent API")
    postgres: SecretStr = Field(description="PostgreSQL URL with its password")
    log_level: str = Field(default="INFO", description="Least severe log level that is written")
    ops_port: int = Field(default=0, description="Port of /healthz, /readyz and /metrics; 0: any free one")
    ops_host: str = Field(default="127.0.0.1", description="Address the ops endpoints listen on")
    budgets: Path | None = Field(default=None, description="Budgets file; by default the one that is packaged")
    ledger_app_id: str = Field(
        default="millrace-cost-ledger",
        description="Consumer group and prefix of transactional ids; names the changelog topics too",
    )
    ledger_topic_prefix: str = Field(default="", description="Put before the cost topics' names")

    @property
    def topics(self) -> LedgerTopics:
        """The ledger's topics."""
        return LedgerTopics(self.ledger_topic_prefix)
