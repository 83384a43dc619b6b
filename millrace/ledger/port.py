"""What the job core and the gateway ask of the ledger; `millrace.ledger.client` answers over Kafka."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from millrace.errors import Refusal
from millrace.ids import RequestId
from millrace.ledger.grant import Ends, Granted
from millrace.money import MicroUSD

__all__ = ["Ends", "Granted", "Ledger"]


class Ledger(Ends, Protocol):
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
        """Ask for a hold of at most `amount` micro-US-dollars; the call is made inside `async with` of the grant.

        :raises Unavailable: no answer in time; a release has been sent behind the reserve, nothing may be called.
        """
        ...
