"""What the gateway does about the share of a bench: queues its jobs, cancels it, asks for a stage anew."""

from __future__ import annotations

from datetime import datetime

from millrace.contracts.events import StageName, StageRequested
from millrace.kafka.records import Message, Partition
from millrace.store.cancel import cancel
from tests.support.job_bench import Bench


async def cancelled(bench: Bench) -> dict[StageName, str]:
    """Cancel the share, as the gateway does; the states of its stages then."""
    jobs = await bench.database.transaction(lambda connection: cancel(connection, bench.share))
    return {job.stage: job.state for job in jobs}


async def queue(bench: Bench, *stages: StageName) -> None:
    """Jobs as the gateway makes them with a share."""
    for stage in stages:
        await bench.database.execute(
            "INSERT INTO jobs (share_id, stage, account, state) VALUES ($1, $2, 'default', 'queued')",
            bench.share,
            stage,
        )


async def asked_anew(bench: Bench, at: datetime) -> Message:
    """A command to do the stage once more."""
    command = StageRequested(
        share_id=bench.share,
        stage="summarize",
        reason="replay",
        origin_topic="share.created",
        origin_key=bench.message.key,
        origin_value=bench.message.value,
        origin_headers={},
        options={},
        requested_by="test",
        requested_at=at,
    )
    topic = "summarize.requested"
    return Message(Partition(topic, 0), 1, bench.message.key, bench.codec.encode(topic, command), {})
