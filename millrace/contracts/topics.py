"""What a topic is: one entry of `schemas/topics.yaml`, checked and typed."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

_DAY_MS = 24 * 60 * 60 * 1000
_UNITS_MS = {"d": _DAY_MS, "h": _DAY_MS // 24, "m": 60_000, "s": 1000}
_UNITS_BYTES = {"KiB": 1024, "MiB": 1024**2}
_NAME = re.compile(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)+")

BROKER_MAX_MESSAGE_BYTES = 1_048_588
"""Kafka's own limit where a topic sets none (`message.max.bytes`: 1 MiB and 12 bytes of batch overhead)."""


def _quantity(value: object, units: dict[str, int]) -> object:
    found = re.fullmatch(r"(\d+)\s*([A-Za-z]+)", value) if isinstance(value, str) else None
    if found is None:
        return value
    number, unit = found.groups()
    if unit not in units:
        raise ValueError(f"{unit} is not one of {', '.join(units)}")
    return int(number) * units[unit]


def _duration(value: object) -> object:
    return _quantity(value, _UNITS_MS)


def _size(value: object) -> object:
    return _quantity(value, _UNITS_BYTES)


class SchemaRef(BaseModel):
    """A schema's name and version, as `share.created.v1` says them."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: int

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        name, _, version = value.rpartition(".v")
        if not name or not version.isdecimal():
            raise ValueError(f"{value} is not raw, none or a schema's name.vN")
        return {"name": name, "version": int(version)}

    def __str__(self) -> str:
        return f"{self.name}.v{self.version}"


class TopicSpec(BaseModel):
    """A topic as it should be. Sizes in bytes, durations in milliseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    doc: str = Field(min_length=1)
    key: str = Field(min_length=1)
    schema_ref: Literal["raw", "none"] | SchemaRef = Field(alias="schema", union_mode="left_to_right")
    partitions: PositiveInt
    partitions_fixed: bool = False
    replication: PositiveInt
    retention_ms: Annotated[PositiveInt, BeforeValidator(_duration)] = Field(alias="retention")
    cleanup: Literal["delete", "compact"]
    timestamp: Literal["create", "append"]
    max_message: Annotated[PositiveInt, BeforeValidator(_size)] | None = None
    config: dict[str, str] = {}
    changelog: bool = False
    owner: str = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _texts(cls, value: object) -> object:
        """Kafka's settings are texts; YAML reads some of them as numbers."""
        if isinstance(value, dict) and isinstance(value.get("config"), dict):
            return value | {"config": {str(k): str(v) for k, v in value["config"].items()}}
        return value

    @model_validator(mode="after")
    def _named_well(self) -> TopicSpec:
        if not self.changelog and _NAME.fullmatch(self.name) is None:
            raise ValueError("a name is lower-case words joined by dots, never underscores")
        return self

    @property
    def subject(self) -> str | None:
        """Where the registry keeps the schema of its values (Confluent's TopicNameStrategy); None without schema."""
        return f"{self.name}-value" if isinstance(self.schema_ref, SchemaRef) else None

    @property
    def max_message_bytes(self) -> int:
        """Largest message that the topic takes."""
        return self.max_message or BROKER_MAX_MESSAGE_BYTES

    def kafka_config(self) -> dict[str, str]:
        """Kafka's topic settings that do not depend on the cluster."""
        settings = {
            "cleanup.policy": self.cleanup,
            "message.timestamp.type": "LogAppendTime" if self.timestamp == "append" else "CreateTime",
            **self.config,
        }
        if self.cleanup == "delete":
            settings["retention.ms"] = str(self.retention_ms)
        if self.max_message is not None:
            settings["max.message.bytes"] = str(self.max_message)
        return settings
