"""Partitions as every Kafka client computes them."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.partitions import partition_for, partition_key, row_key


@pytest.mark.parametrize(
    ("key", "murmur2"),
    # Test vectors of org.apache.kafka.common.utils.UtilsTest.testMurmur2.
    [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)],
)
def test_the_hash_is_that_of_java(key: str, murmur2: int) -> None:
    assert partition_for(key, 2**31 - 1) == (murmur2 & 0x7FFFFFFF) % (2**31 - 1)


@given(key=st.text(), count=st.integers(1, 64))
def test_a_plain_producer_chooses_the_same_partition(key: str, count: int) -> None:
    partitions = list(range(count))
    assert partition_for(key, count) == DefaultPartitioner()(key.encode(), partitions, partitions)


def test_rows_of_one_owner_are_together() -> None:
    key = row_key("lab", "transcribe", "hour", "2026-01-15T10:00:00Z")
    assert key == "lab|transcribe|hour|2026-01-15T10:00:00Z"
    assert partition_key(key) == "lab"
    assert partition_key("just-a-share") == "just-a-share"


def test_an_owner_that_would_be_split_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot contain"):
        row_key("lab|evil", "total")


def test_no_partition_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        partition_for("key", 0)
