"""What a stage's application tells Faust, and what it does when partitions are taken from it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from faust.types import TP
from pydantic import SecretStr

from millrace.stream import faust_app
from millrace.stream.faust_app import FaustApp, SafeConsumer
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


class Recording(SafeConsumer):
    """A consumer that remembers what it had to commit when it was told to."""

    def __init__(self, app: FaustApp, takes: float = 0.0) -> None:
        super().__init__(
            app.transport, callback=nothing, on_partitions_revoked=nothing, on_partitions_assigned=nothing
        )
        self.found: list[dict[TP, list[int]]] = []
        self._takes = takes
        self._thread.thread_loop.close()  # it is never started

    async def commit(self, *_: object, **__: object) -> bool:
        self.found.append({tp: list(offsets) for tp, offsets in self._acked.items()})
        await asyncio.sleep(self._takes)
        return True


async def nothing(*_: object, **__: object) -> None:
    """Nobody is told."""


def test_a_worker_with_a_name_is_a_static_member() -> None:
    assert AGENT.app(settings("one")).conf.consumer_group_instance_id == "one"
    assert AGENT.app(settings()).conf.consumer_group_instance_id is None


def test_settings_change_the_limits_and_faust_is_patient_beyond_them() -> None:
    app = AGENT.app(settings().model_copy(update={"soft_limit_s": 7.0, "hard_limit_s": 3600.0}))
    assert (app.spec.soft_limit.total_seconds(), app.spec.hard_limit.total_seconds()) == (7, 3600)
    assert app.conf.stream_processing_timeout == 3900
    assert AGENT.app(settings()).conf.stream_processing_timeout == 1200


async def test_what_is_done_is_committed_before_partitions_go() -> None:
    consumer, tp = Recording(AGENT.app(settings())), TP("share.created", 0)
    consumer._acked[tp].append(7)
    await consumer.on_partitions_revoked({tp})
    assert consumer.found == [{tp: [7]}], "Faust forgets what was acknowledged when it tells that partitions go"


async def test_a_commit_that_hangs_does_not_hold_up_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faust_app, "COMMIT_WITHIN_S", 0.01)
    async with asyncio.timeout(5):
        await Recording(AGENT.app(settings()), takes=3600).on_partitions_revoked(set())
