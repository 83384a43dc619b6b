"""Settings that services share, read once from the environment (`MILLRACE_…`) at the composition root."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

WorksOn = Literal["both", "api", "local"]


class ServiceSettings(BaseSettings):
    """Where the other parts are. There is no safe default for them: a service that is not told refuses to start."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_", env_ignore_empty=True, frozen=True, extra="ignore")

    kafka: str = Field(description="Bootstrap address, host:port")
    registry: str = Field(description="Base URL of the schema registry's Confluent API")
    postgres: SecretStr = Field(description="PostgreSQL URL with its password")
    log_level: str = Field(default="INFO", description="Least severe log level that is written")
    start_timeout_s: float = Field(
        default=30.0, ge=0, description="How long a start waits for Kafka, the registry and PostgreSQL"
    )


class CoreSettings(ServiceSettings):
    """For services that read or write media."""

    blobs: Path = Field(description="Folder of the local media store")


class WorkerSettings(ServiceSettings):
    """For Faust applications."""

    ops_port: int = Field(default=0, description="Port of /healthz, /readyz and /metrics; 0: any free one")
    ops_host: str = Field(default="127.0.0.1", description="Address the ops endpoints listen on")
    drain_s: float = Field(default=20.0, ge=0, description="How long a stop waits for what is running")


class StageSettings(WorkerSettings, CoreSettings):
    """What every agent has besides."""

    concurrency: int = Field(default=4, ge=1, description="Jobs at a time")
    prefetch: int = Field(default=8, ge=0, description="Jobs waiting for a place, beyond those that run")
    lease_s: float = Field(default=30.0, gt=1, description="Lease on a piece of work; renewed at a third of it")
    dead_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="When more than this share of the last jobs ended as dead letters, the agent takes nothing new "
        "and tries one job now and then; 1: never",
    )
    dead_last: int = Field(default=50, ge=1, description="How many of the last jobs that is a share of")
    dead_least: int = Field(default=20, ge=1, description="How many jobs must have ended before it is")
    soft_limit_s: float | None = Field(
        default=None,
        gt=0,
        description="Seconds after which running work is said to be overdue; by default the stage's own "
        "(media 480, transcribe 720, summarize 180, embed 300)",
    )
    hard_limit_s: float | None = Field(
        default=None,
        gt=0,
        le=604_000,  # with five minutes to settle in, no hold of the ledger lives longer than seven days
        description="Seconds after which running work is ended and tried again once; by default the stage's own "
        "(media 600, transcribe 900, summarize 300, embed 600)",
    )
    instance: str | None = Field(
        default=None,
        description="Name of this worker, kept over its restarts and unique within its service: a restart then takes "
        "its partitions up again at once. Without it all workers wait 10 s until the broker has given the old one up",
    )

    @property
    def places(self) -> int:
        """Jobs that are worked on at a time."""
        return self.concurrency
