"""Faust, with the settings and the two corrections under which long jobs are neither lost nor run twice.

What each one prevents was reproduced against a real broker; `docs/decisions/job-core.md` says more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final

import faust
from faust.transport.drivers.aiokafka import Consumer, Transport

from millrace.cluster import Cluster
from millrace.kafka.records import Partition

log = logging.getLogger(__name__)

COMMIT_WITHIN_S: Final = 2.0
"""How long a rebalance waits for a last commit; the whole group waits with it."""

FAUST_SETTINGS: Mapping[str, Any] = {
    "key_serializer": "raw",
    "value_serializer": "raw",  # Faust acknowledges what its own codecs cannot decode; the job runner decodes instead
    "store": "memory://",
    "web_enabled": False,
    "topic_allow_declare": False,  # topics are provisioned; a missing one is an error, not a surprise
    "topic_disable_leader": True,
    "table_standby_replicas": 0,
    "stream_wait_empty": False,  # True makes a rebalance wait for running jobs, and the group stalls
    "stream_buffer_maxsize": 1000,
    "stream_processing_timeout": 1200.0,
    "broker_max_poll_interval": 86_400.0,  # with full buffers a worker would leave the group and never rejoin
    "broker_max_poll_records": 100,  # below a fifth of the buffer, so that no fetch overruns it
    "broker_commit_interval": 1.0,
    "broker_commit_livelock_soft_timeout": 1200.0,
    "broker_session_timeout": 10.0,
    "broker_heartbeat_interval": 2.0,
    "broker_rebalance_timeout": 60.0,
    "broker_request_timeout": 90.0,
    "consumer_auto_offset_reset": "earliest",
    "consumer_metadata_max_age_ms": 30_000,
    "producer_acks": -1,
    "worker_redirect_stdouts": False,
}


def faust_settings(longest: timedelta) -> dict[str, Any]:
    """The settings for jobs of up to this long: Faust calls a stream stalled that acknowledges nothing meanwhile."""
    patience = longest.total_seconds() + 300.0
    stalls = ("stream_processing_timeout", "broker_commit_livelock_soft_timeout")
    return {**FAUST_SETTINGS, **{name: max(FAUST_SETTINGS[name], patience) for name in stalls}}


class SafeConsumer(Consumer):
    """Seeks explicitly after every rebalance and remembers where the assignment starts.

    aiokafka's `seek_to_committed` does nothing where the committed offset is None or 0: records that were fetched
    during the rebalance would be skipped.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.starts: dict[Partition, int] = {}

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Seek every assigned partition to its committed offset, or to the oldest one that is kept."""
        committed: Mapping[Any, int] = await super().seek_to_committed()
        earliest: Mapping[Any, int] = await self.earliest_offsets(*committed) if committed else {}
        starts = {tp: max(offset or 0, earliest.get(tp, 0)) for tp, offset in committed.items()}
        moved = {tp: start for tp, start in starts.items() if start != committed[tp] or start == 0}
        for tp, start in moved.items():
            if committed[tp] and start > committed[tp]:
                log.error("%s: offsets %d to %d are past retention and were not seen", tp, committed[tp], start - 1)
        if moved:
            await self.seek_wait(moved)
        self.starts = {Partition(tp.topic, tp.partition): start for tp, start in starts.items()}
        return committed

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Commit what is acknowledged first: Faust forgets it before it tells anybody, and commits every second only.

        Whoever has the partitions next need not look again at what is done.
        """
        try:
            await asyncio.wait_for(self.commit(), COMMIT_WITHIN_S)
        except TimeoutError:
            log.info("no commit before the rebalance was possible; some records come again")
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        """Hold the flow back first: a worker that had no partitions never suspends it by itself."""
        self.stop_flow()
        self.app.flow_control.suspend()
        await super().on_partitions_assigned(assigned, generation_id)


class SafeTransport(Transport):
    """Faust's aiokafka transport with the safe consumer."""

    Consumer: ClassVar[type[SafeConsumer]] = SafeConsumer


def broker(cluster: Cluster) -> dict[str, Any]:
    """Faust's settings of a cluster; the context of TLS goes into the credentials, beside them it is not heeded."""
    found: dict[str, Any] = {"broker": ";".join(f"aiokafka://{one}" for one in cluster.address.split(","))}
    context = cluster.tls_context if cluster.tls else None
    if cluster.user is not None:
        found["broker_credentials"] = faust.SASLCredentials(
            mechanism=cluster.mechanism, username=cluster.user, password=cluster.password, ssl_context=context
        )
    elif context is not None:
        found["broker_credentials"] = faust.SSLCredentials(context)
    return found


class FaustApp(faust.App):
    """A Faust application on the safe transport."""

    def _new_transport(self) -> SafeTransport:
        return SafeTransport(self.conf.broker_consumer, self)
