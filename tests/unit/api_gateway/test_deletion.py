from __future__ import annotations

from datetime import UTC, datetime

from millrace.contracts.catalog import Catalog
from millrace.contracts.partitions import partition_for
from services.api_gateway.deletion import tombstones

SHARE = "0d3c64f8-5c0f-4b57-9d0e-3f1f4f5a1111"
AT = datetime(2026, 1, 5, tzinfo=UTC)


def test_every_topic_that_tells_of_a_share_is_told_and_none_of_commands() -> None:
    told = list(tombstones(Catalog.load(), SHARE, [], AT))
    assert {one.topic for one in told} == {
        "share.created",
        "media.ready",
        "transcript.ready",
        "summary.ready",
        "embedding.ready",
    }
    assert all((one.key, one.value, one.partition) == (SHARE.encode(), None, None) for one in told)
    assert all(one.headers["ce_subject"] == SHARE for one in told)


def test_the_rows_of_its_stages_are_removed_where_they_lie() -> None:
    catalog = Catalog.load()
    rows = [one for one in tombstones(catalog, SHARE, ["media", "embed"], AT) if one.topic == "task.status"]
    assert [one.key.decode() for one in rows] == [f"{SHARE}|media", f"{SHARE}|embed"]
    home = partition_for(SHARE, catalog.topic("task.status").partitions)
    assert {one.partition for one in rows} == {home}, "by the share alone, not by the row's key"


def test_a_tombstone_that_is_told_again_is_the_same_event() -> None:
    first, second = (list(tombstones(Catalog.load(), SHARE, ["embed"], AT)) for _ in range(2))
    assert [one.headers["ce_id"] for one in first] == [one.headers["ce_id"] for one in second]
    assert len({one.headers["ce_id"] for one in first}) == len(first)
