"""A stage that takes nothing new for a while is not silent about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from millrace.contracts.analytics_api import PipelineAnswer
from millrace.contracts.dead import DEAD_GATE
from millrace.contracts.share_api import ShareView
from millrace.store.database import Database
from millrace.store.dead_gate import DeadGateStore
from millrace.store.waiting import WaitingStore
from tests.integration.gateway import Gateway


async def paused(gateway: Gateway) -> dict[str, datetime | None]:
    answer = PipelineAnswer.model_validate_json((await gateway.http.get("/api/pipeline")).content)
    return {stage.stage: stage.paused_until for stage in answer.stages}


async def reasons(gateway: Gateway, share_id: str) -> dict[str, str | None]:
    view = ShareView.model_validate_json((await gateway.http.get(f"/shares/{share_id}")).content)
    return {stage.stage: stage.reason for stage in view.stages}


async def test_why_a_share_is_still_queued_is_said_until_the_stage_goes_on(
    gateway: Gateway, database: Database
) -> None:
    accepted = await gateway.http.post("/shares", json={"url": "https://example.org/talk.mp4"})
    share_id = accepted.json()["share_id"]
    assert set((await reasons(gateway, share_id)).values()) == {None}
    await DeadGateStore(database, "media").close(timedelta(minutes=7))
    try:
        until = (await paused(gateway)).pop("media")
        assert until is not None
        assert timedelta(minutes=6) < until - datetime.now(UTC) <= timedelta(minutes=7)
        found = await reasons(gateway, share_id)
        reason = found.pop("media")
        assert reason == (
            f"too many jobs of this stage have failed, so that it takes none; one is tried at {until:%H:%M:%S} UTC"
        )
        assert set(found.values()) == {None}
    finally:
        await WaitingStore(database, "media").passed(DEAD_GATE)
    assert (await paused(gateway))["media"] is None
    assert set((await reasons(gateway, share_id)).values()) == {None}
