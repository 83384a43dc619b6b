"""A record of Kafka, and where it lies: what every reader and writer here speaks of. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

Header = tuple[str, bytes]


class Partition(NamedTuple):
    """A topic's partition; equal to the tuples that Faust and aiokafka use."""

    topic: str
    partition: int


@dataclass(frozen=True)
class Message:
    """A record as it came from Kafka."""

    at: Partition
    offset: int
    key: bytes
    value: bytes
    headers: Mapping[str, bytes]
    is_tombstone: bool = False
    """It has no value, which is not the same as an empty one: what its key names was deleted."""
