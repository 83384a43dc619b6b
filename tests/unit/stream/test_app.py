"""What a stage's application tells Faust, and what it does when partitions are taken from it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest
from faust.types import ConsumerT
from pydantic import SecretStr

from millrace.stream import app as stream_app
from services.summarize_agent.app import AGENT
from services.summarize_agent.settings import SummarizeSettings


def settings(instance: str | None = None) -> SummarizeSettings:
    return SummarizeSettings(
        kafka="127.0.0.1:1",
        registry="http://127.0.0.1:1",
        postgres=SecretStr("postgresql://127.0.0.1:1/none"),
        blobs=Path("none"),
        instance=instance,
    )


class Consumer:
    """Counts commits; `takes` seconds each."""

    def __init__(self, takes: float = 0.0) -> None:
        self.commits = 0
        self._takes = takes

    async def commit(self) -> bool:
        self.commits += 1
        await asyncio.sleep(self._takes)
        return True


def test_a_worker_with_a_name_is_a_static_member() -> None:
    assert AGENT.app(settings("one")).conf.consumer_group_instance_id == "one"
    assert AGENT.app(settings()).conf.consumer_group_instance_id is None


def test_settings_change_the_limits_and_faust_is_patient_beyond_them() -> None:
    app = AGENT.app(settings().model_copy(update={"soft_limit_s": 7.0, "hard_limit_s": 3600.0}))
    assert (app.spec.soft_limit.total_seconds(), app.spec.hard_limit.total_seconds()) == (7, 3600)
    assert app.conf.stream_processing_timeout == 3900
    assert AGENT.app(settings()).conf.stream_processing_timeout == 1200


async def test_what_is_done_is_committed_before_partitions_go() -> None:
    app = AGENT.app(settings())
    consumer = Consumer()
    app.consumer = cast(ConsumerT, consumer)
    await app.on_partitions_revoked.send(set())
    assert consumer.commits == 1


async def test_a_commit_that_hangs_does_not_hold_up_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_app, "COMMIT_WITHIN_S", 0.01)
    app = AGENT.app(settings())
    app.consumer = cast(ConsumerT, Consumer(takes=3600))
    async with asyncio.timeout(5):
        await app.on_partitions_revoked.send(set())
