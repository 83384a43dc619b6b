"""Where alerts go: a table that the API reads, and the topic."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg

from millrace.contracts.events import CostAlert
from millrace.contracts.headers import headers, new_trace
from millrace.contracts.wire import Codec
from millrace.kafka.producer import Producer
from millrace.ledger.topics import ALERTS
from services.cost_ledger.alerts import id_of
from services.cost_ledger.spend import Home

_INSERT = """
INSERT INTO ledger_alerts (alert_id, account, scope, "window", start, kind, percent, used_micro_usd, cap_micro_usd,
                           exhausted_at, raised_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (alert_id) DO NOTHING
"""


class AlertTable:
    """Table `ledger_alerts`: an alert that is raised again stays as it was."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    async def write(self, alerts: Sequence[CostAlert]) -> None:
        """See `AlertOutput.write`."""
        await self._pool.executemany(_INSERT, [_entry(alert) for alert in alerts])


class AlertTopic:
    """Topic `cost.alerts`, keyed by account, partitioned like the account's decisions."""

    def __init__(self, producer: Producer, codec: Codec, topic: str, home: Home) -> None:
        self._producer = producer
        self._codec = codec
        self._topic = topic
        self._home = home

    async def write(self, alerts: Sequence[CostAlert]) -> None:
        """Send, and wait until all are confirmed."""
        await asyncio.gather(*(self._send(alert) for alert in alerts))

    async def _send(self, alert: CostAlert) -> None:
        about = headers(
            ALERTS,
            id_of(alert),
            source="cost_ledger",
            subject=alert.account,
            time=alert.raised_at,
            traceparent=new_trace(sampled=False),
        )
        await self._producer.send(
            self._topic,
            key=alert.account.encode(),
            value=self._codec.encode(ALERTS, alert),
            headers=about,
            partition=self._home(alert.account),
        )


def _entry(alert: CostAlert) -> tuple[object, ...]:
    return (
        id_of(alert),
        alert.account,
        alert.scope,
        alert.window,
        alert.start,
        alert.kind,
        alert.percent,
        alert.used_micro_usd,
        alert.cap_micro_usd,
        alert.exhausted_at,
        alert.raised_at,
    )
