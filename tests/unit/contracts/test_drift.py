"""What differs between a cluster and the catalogue, and what may be done about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from millrace.contracts.catalog import Catalog
from millrace.contracts.drift import ActualTopic, Alter, Conflict, Create, changes, wanted_config

CATALOG = Catalog.load()
SPEC = CATALOG.topic("share.created")


def _as_declared(name: str, replication: int = 1) -> ActualTopic:
    spec = CATALOG.topic(name)
    # A broker lists every setting, not only ours.
    config = wanted_config(spec, replication) | {"compression.type": "producer"}
    return ActualTopic(name, spec.partitions, replication, config)


def _with(topic: ActualTopic, **config: str) -> dict[str, ActualTopic]:
    settings = {name.replace("_", "."): value for name, value in config.items()}
    return {topic.name: replace(topic, config={**topic.config, **settings})}


def test_a_cluster_as_declared_needs_nothing() -> None:
    assert changes(CATALOG.topics.values(), {name: _as_declared(name) for name in CATALOG.topics}) == []


def test_missing_topics_are_created_as_declared() -> None:
    created = changes(CATALOG.topics.values(), {})
    assert all(isinstance(change, Create) for change in created)
    assert [change.spec.name for change in created if isinstance(change, Create)] == list(CATALOG.topics)


def test_one_setting_brings_production_replication() -> None:
    (created,) = changes([SPEC], {}, replication=3)
    assert isinstance(created, Create)
    assert (created.replication, created.config["min.insync.replicas"]) == (3, "2")
    assert wanted_config(SPEC, 1)["min.insync.replicas"] == "1", "one broker could never acknowledge with 2"


def test_settings_that_do_no_harm_are_mended() -> None:
    rows = _as_declared("cost.rows")
    found = changes([CATALOG.topic("cost.rows")], _with(rows, segment_bytes="1073741824"))
    assert found == [Alter("cost.rows", {"segment.bytes": "33554432"}, {"segment.bytes": "1073741824"})]


def test_a_shorter_retention_is_lengthened_and_a_longer_one_kept() -> None:
    assert changes([SPEC], _with(_as_declared("share.created"), retention_ms="1000")) == [
        Alter("share.created", {"retention.ms": "2592000000"}, {"retention.ms": "1000"})
    ]
    for longer in ("9999999999", "-1"):
        assert changes([SPEC], _with(_as_declared("share.created"), retention_ms=longer)) == []


def test_numbers_are_compared_as_numbers() -> None:
    rows = _as_declared("cost.rows")
    assert changes([CATALOG.topic("cost.rows")], _with(rows, min_cleanable_dirty_ratio="0.10")) == []


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("cost.requests", "message_timestamp_type", "CreateTime"),
        ("task.status", "cleanup_policy", "delete"),
    ],
)
def test_what_would_lose_data_or_time_is_left_to_a_person(name: str, setting: str, value: str) -> None:
    (found,) = changes([CATALOG.topic(name)], _with(_as_declared(name), **{setting: value}))
    assert isinstance(found, Conflict)
    assert f"is {value} and must be" in str(found)


@pytest.mark.parametrize(
    ("name", "partitions", "wrong"),
    [
        ("share.created", 3, True),
        ("share.created", 12, False),
        ("cost.requests", 3, True),
        ("cost.requests", 12, True),
    ],
)
def test_fewer_partitions_are_wrong_and_more_are_so_for_money(name: str, partitions: int, wrong: bool) -> None:
    found = changes([CATALOG.topic(name)], {name: replace(_as_declared(name), partitions=partitions)})
    assert [type(change) for change in found] == ([Conflict] if wrong else [])


def test_replication_is_only_compared_when_it_is_asked_for() -> None:
    actual = {"share.created": _as_declared("share.created", replication=3)}
    assert changes([SPEC], actual) == []
    (found,) = changes([SPEC], actual, replication=5)
    assert str(found) == "share.created: has 3 replicas, not 5: use kafka-reassign-partitions"


def test_three_replicas_without_two_in_sync_are_mended() -> None:
    found = changes([SPEC], _with(_as_declared("share.created", replication=3), min_insync_replicas="1"))
    assert found == [Alter("share.created", {"min.insync.replicas": "2"}, {"min.insync.replicas": "1"})]
