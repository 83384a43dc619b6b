"""What all examples do with a message: keep the newest event of a share as FOLDER/TOPIC/KEY.json.

Nothing goes wrong when a message comes again, after a crash, a rebalance or a replay: the file is written as it is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

TOPICS = ("share.created", "media.ready", "transcript.ready", "summary.ready", "embedding.ready")
_KEY = re.compile(r"[0-9A-Za-z|-]+")


class Keeper:
    """The files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, topic: str, key: bytes | None, ce_id: str | None, event: Mapping[str, object] | None) -> str:
        """Do what a message asks for; what that was (kept, known, removed, absent or odd), the topic and the key."""
        name = (key or b"").decode("utf-8", "replace")
        if not _KEY.fullmatch(name):  # it becomes the name of a file, and anybody may have written it
            return f"odd {topic} -"
        return f"{self._do(topic, name, ce_id, event)} {topic} {name}"

    def _do(self, topic: str, name: str, ce_id: str | None, event: Mapping[str, object] | None) -> str:
        file = self._folder / topic / f"{name}.json"
        if event is None:  # a tombstone: the share was deleted
            existed = file.exists()
            file.unlink(missing_ok=True)
            return "removed" if existed else "absent"
        text = json.dumps({"ce_id": ce_id, "event": event}, default=_milliseconds, ensure_ascii=False, sort_keys=True)
        if file.exists() and file.read_text(encoding="utf-8") == text:
            return "known"
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)  # whole or not at all
        return "kept"


def ce_id(headers: object) -> str | None:
    """The id that a repeat of the same event has, too; of headers as Kafka clients give them."""
    found = dict(headers) if isinstance(headers, (list, tuple)) else {}
    return found["ce_id"].decode() if found.get("ce_id") else None


class Security(NamedTuple):
    """How Kafka is spoken to. `ca`: PEM file of who signs brokers' certificates; None: whom this machine trusts."""

    tls: bool
    ca: str | None
    user: str | None
    password: str

    @property
    def protocol(self) -> str:
        """Kafka's name for it."""
        return ("SASL_" if self.user else "") + ("SSL" if self.tls else "PLAINTEXT")


def security() -> Security:
    """As the environment says it, by the names of Millrace's own settings."""
    ca = os.environ.get("MILLRACE_KAFKA_CA") or None
    tls = ca is not None or os.environ.get("MILLRACE_KAFKA_TLS", "") == "true"
    user = os.environ.get("MILLRACE_KAFKA_USER") or None
    return Security(tls, ca, user, os.environ.get("MILLRACE_KAFKA_PASSWORD", ""))


def _milliseconds(value: object) -> int:
    """Times as they are in Avro, so that every language writes the same."""
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} has no JSON")
    return round(value.timestamp() * 1000)
