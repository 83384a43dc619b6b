"""Settings that services share, read once from the environment (`MILLRACE_…`) at the composition root."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from millrace.cluster import Cluster, Mechanism

WorksOn = Literal["both", "api", "local"]
Folder = Annotated[Path, AfterValidator(Path.absolute)]
"""Of the folder the process was started in, whatever becomes of that."""


def _either(name: str, *others: str) -> AliasChoices:
    """A setting that operators of older systems know by other names; the first one that is set holds."""
    return AliasChoices(f"MILLRACE_{name}", *others, name.lower())


class TraceSettings(BaseModel):
    """Where traces go. Mixed into the settings of all services."""

    otlp_endpoint: str | None = Field(
        default=None,
        validation_alias=_either("OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="Base URL of an OpenTelemetry collector (OTLP over HTTP), as in http://127.0.0.1:4318, that is "
        "sent traces; without one none are recorded",
    )
    trace_ratio: float = Field(
        default=1.0, ge=0, le=1, description="Share of the traces that begin with this service that are recorded"
    )


LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]


class KafkaSettings(BaseModel):
    """Where Kafka is, and how it is reached. Mixed into the settings of all services."""

    kafka: str = Field(description="Bootstrap address, host:port; or several with commas between")
    kafka_tls: bool = Field(
        default=False,
        description="Whether connections are encrypted and brokers verified; MILLRACE_KAFKA_CA implies it",
    )
    kafka_ca: Path | None = Field(
        default=None,
        description="PEM file of the authorities whose certificates brokers may have; by default those that the "
        "machine trusts",
    )
    kafka_user: str | None = Field(default=None, min_length=1, description="Who the service is to Kafka (SASL)")
    kafka_password: SecretStr | None = Field(default=None, description="The user's password")
    kafka_mechanism: Mechanism = Field(
        default="SCRAM-SHA-512", description="How the password is shown; PLAIN sends it, and only over TLS"
    )

    @model_validator(mode="after")
    def _who_and_how(self) -> Self:
        if (self.kafka_user is None) != (self.kafka_password is None):
            raise ValueError("MILLRACE_KAFKA_USER and MILLRACE_KAFKA_PASSWORD go together: set both, or none")
        if self.kafka_user is not None and self.kafka_mechanism == "PLAIN" and not self.cluster.tls:
            raise ValueError("MILLRACE_KAFKA_MECHANISM is PLAIN, which sends the password: set MILLRACE_KAFKA_TLS")
        try:
            if self.cluster.tls:
                _ = self.cluster.tls_context
        except ssl.SSLError:
            raise ValueError(f"MILLRACE_KAFKA_CA holds no certificate of an authority: {self.kafka_ca}") from None
        except OSError as exc:
            raise ValueError(f"MILLRACE_KAFKA_CA cannot be read: {self.kafka_ca} ({exc.strerror})") from None
        return self

    @property
    def cluster(self) -> Cluster:
        """Kafka, as this service sees it."""
        return Cluster(
            self.kafka,
            tls=self.kafka_tls or self.kafka_ca is not None,
            ca=self.kafka_ca,
            user=self.kafka_user,
            password="" if self.kafka_password is None else self.kafka_password.get_secret_value(),
            mechanism=self.kafka_mechanism,
        )


class ClusterSettings(KafkaSettings, BaseSettings):
    """Kafka alone, for commands that need nothing else."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_", env_ignore_empty=True, frozen=True, extra="ignore")


class ServiceSettings(KafkaSettings, TraceSettings, BaseSettings):
    """Where the other parts are. There is no safe default for them: a service that is not told refuses to start."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_", env_ignore_empty=True, frozen=True, extra="ignore")

    registry: str = Field(description="Base URL of the schema registry's Confluent API")
    postgres: SecretStr = Field(description="PostgreSQL URL with its password")
    log_level: LogLevel = Field(default="INFO", description="Least severe log level that is written")
    log_format: Literal["text", "json"] = Field(
        default="text", description="Log lines for people, or one JSON object each, for programs"
    )
    start_timeout_s: float = Field(
        default=30.0, ge=0, description="How long a start waits for Kafka, the registry and PostgreSQL"
    )


class StorageSettings(BaseModel):
    """Where media is kept. Mixed into the settings of services that read or write it."""

    storage_mode: Literal["local", "s3", "hybrid"] = Field(
        default="local",
        validation_alias=_either("STORAGE_MODE", "STORAGE_MODE"),
        description="Where media goes: the local folder, S3, or both (hybrid: a share of fetched media to S3)",
    )
    s3_bucket: str | None = Field(
        default=None,
        validation_alias=_either("S3_BUCKET", "S3_BUCKET", "S3_BUCKET_NAME"),
        description="The bucket; `millrace storage setup` makes it. In the mode local it is read from alone",
    )
    s3_region: str | None = Field(
        default=None,
        validation_alias=_either("S3_REGION", "S3_REGION", "AWS_REGION"),
        description="Its region; by default what boto finds, and us-east-1 with an endpoint of one's own",
    )
    s3_endpoint: str | None = Field(
        default=None,
        validation_alias=_either("S3_ENDPOINT", "S3_ENDPOINT"),
        description="URL of an S3-compatible server; Amazon's by default",
    )
    s3_access_key_id: SecretStr | None = Field(
        default=None,
        validation_alias=_either("S3_ACCESS_KEY_ID", "S3_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
        description="Key; without it and its secret what boto finds (profile, role of the machine)",
    )
    s3_secret_access_key: SecretStr | None = Field(
        default=None,
        validation_alias=_either("S3_SECRET_ACCESS_KEY", "S3_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
        description="Its secret",
    )
    s3_session_token: SecretStr | None = Field(
        default=None,
        validation_alias=_either("S3_SESSION_TOKEN", "AWS_SESSION_TOKEN"),
        description="Token that goes with a temporary key",
    )
    s3_path_style: bool = Field(
        default=False,
        validation_alias=_either("S3_PATH_STYLE", "S3_FORCE_PATH_STYLE"),
        description="The bucket is named in the path and not in the host name, as most servers of one's own need it",
    )
    s3_encryption: Literal["AES256", "aws:kms", "none"] = Field(
        default="AES256", description="Encryption that is asked for with each upload; none: what the bucket does"
    )
    s3_wait_s: float = Field(
        default=3600.0,
        ge=0,
        description="How long fetched media that is not in S3 is waited for: it may lie in the folder of the machine "
        "that has fetched it, until S3 takes it. 0: not at all, where all share one folder",
    )
    s3_public_base_url: str | None = Field(
        default=None, description="URL below which everybody reads the bucket, a CDN's for instance; for `media_url`"
    )
    hybrid_s3_percent: int = Field(
        default=10, ge=0, le=100, description="Share of fetched media that goes to S3 in the mode hybrid"
    )
    temp_hours: float = Field(default=24.0, gt=0, description="How long fetched media stays in the local folder")
    s3_temp_days: int = Field(
        default=7, ge=1, description="How long it stays in S3, by the rule that `millrace storage setup` sets"
    )

    @property
    def media_kept(self) -> timedelta:
        """How long fetched media is kept at least, wherever it went.

        In the mode s3 some may lie in the folder all the same, from before the mode was changed.
        """
        local, s3 = timedelta(hours=self.temp_hours), timedelta(days=self.s3_temp_days)
        return local if self.storage_mode == "local" else min(local, s3)


class CoreSettings(StorageSettings, ServiceSettings):
    """For services that read or write media."""

    blobs: Folder = Field(
        description="Folder of the local media store; in the mode s3 for what S3 did not take at once"
    )


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
        "(media 480, transcribe 720, summarize 300, embed 300)",
    )
    hard_limit_s: float | None = Field(
        default=None,
        gt=0,
        le=604_000,  # with five minutes to settle in, no hold of the ledger lives longer than seven days
        description="Seconds after which running work is ended and tried again once; by default the stage's own "
        "(media 600, transcribe 900, summarize 600, embed 600)",
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
