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


async def reason(gateway: Gateway, share_id: str) -> str | None:
    view = ShareView.model_validate_json((await gateway.http.get(f"/shares/{share_id}")).content)
    (media,) = [stage for stage in view.stages if stage.stage == "media"]
    return media.reason


async def test_why_a_share_is_still_queued_is_said_until_the_stage_goes_on(
    gateway: Gateway, database: Database
) -> None:
    open_again = "DELETE FROM gates WHERE (stage, name) = ('media', $1)"
    await database.execute(open_again, DEAD_GATE)  # other tests have the same database, and leave stages paused
    accepted = await gateway.http.post("/shares", json={"url": "https://example.org/talk.mp4"})
    share_id = accepted.json()["share_id"]
    assert await reason(gateway, share_id) is None
    await DeadGateStore(database, "media").close(timedelta(minutes=7))
    try:
        until = (await paused(gateway))["media"]
        assert until is not None
        assert timedelta(minutes=6) < until - datetime.now(UTC) <= timedelta(minutes=7)
        assert await reason(gateway, share_id) == (
            f"too many jobs of this stage have failed, so that it takes none; one is tried at {until:%H:%M:%S} UTC"
        )
        await WaitingStore(database, "media").passed(DEAD_GATE)
        assert (await paused(gateway))["media"] is None
        assert await reason(gateway, share_id) is None
    finally:
        await database.execute(open_again, DEAD_GATE)
