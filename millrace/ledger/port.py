"""What the job core and the gateway ask of the ledger; `millrace.ledger.client` answers over Kafka."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from millrace.errors import Refusal
from millrace.ids import RequestId
from millrace.money import MicroUSD


@dataclass(frozen=True)
class Granted:
    """The money is held; settle, release or unknown must follow."""

    request_id: RequestId
    amount: MicroUSD


class Ledger(Protocol):
    """Grants money before it is spent. Repeats with the same request id get the same answer."""

    async def reserve(
        self,
        request_id: RequestId,
        *,
        account: str,
        scope: str,
        amount: MicroUSD,
        hold_for: timedelta,
        share_id: str | None = None,
        model: str | None = None,
        work_key: str | None = None,
    ) -> Granted | Refusal:
        """Ask for a hold of at most `amount` micro-US-dollars.

        :raises Unavailable: no answer in time; a release has been sent behind the reserve, nothing may be called.
        """
        ...

    async def settle(self, request_id: RequestId, *, account: str, scope: str, actual: MicroUSD) -> None:
        """Tell what the call really cost; returns when Kafka has confirmed the message."""
        ...

    async def release(self, request_id: RequestId, *, account: str, scope: str) -> None:
        """Give the hold back: nothing was called, or nothing was billed."""
        ...

    async def unknown(self, request_id: RequestId, *, account: str, scope: str) -> None:
        """Say that nobody knows whether the call was billed: it stays charged as unconfirmed."""
        ...
