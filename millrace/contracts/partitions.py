"""Which partition a key belongs to: the same answer as Java, aiokafka and Faust give (murmur2).

librdkafka hashes with crc32 unless told `partitioner=murmur2_random`; with defaults, one account would be
written to two partitions and have two owners.
"""

from __future__ import annotations

from aiokafka.partitioner import murmur2

SEPARATOR = "|"


def partition_for(key: str, count: int) -> int:
    """Partition (from 0) of a key among `count`, as Kafka's default partitioner chooses it.

    :raises ValueError: `count` is below 1.
    """
    if count < 1:
        raise ValueError("a topic has at least one partition")
    hashed: int = murmur2(key.encode())
    # Kafka clears the sign bit rather than taking the absolute value (Utils.toPositive).
    return (hashed & 0x7FFFFFFF) % count


def row_key(owner: str, *rest: str) -> str:
    """Key of a row in a compacted topic: `share|stage`, `account|scope|window|start`.

    :raises ValueError: a part but the last contains the separator, so that it could not be told apart.
    """
    parts = (owner, *rest)
    if any(SEPARATOR in part for part in parts[:-1]):
        raise ValueError(f"the first parts of a key cannot contain {SEPARATOR}")
    return SEPARATOR.join(parts)


def partition_key(key: str) -> str:
    """What a row's key is partitioned by: its first part, so that all rows of a share (an account) are together."""
    return key.partition(SEPARATOR)[0]
