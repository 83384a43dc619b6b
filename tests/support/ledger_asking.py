"""How tests ask a ledger for money: caps, ids, and one request."""

from __future__ import annotations

import uuid
from datetime import timedelta

from millrace.errors import Refusal
from millrace.ids import RequestId
from millrace.ledger.client import LedgerClient
from millrace.ledger.port import Granted
from millrace.money import MicroUSD

CAP = 1_000_000
BUDGETS = '[default.transcribe]\nhour = "1.00"\nday = "10.00"\n'
HOLD = timedelta(minutes=20)


def new_id() -> RequestId:
    return RequestId(str(uuid.uuid4()))


def usd(amount: int) -> MicroUSD:
    return MicroUSD(amount)


async def ask(
    client: LedgerClient, account: str, amount: int, request_id: RequestId | None = None
) -> Granted | Refusal:
    return await client.reserve(
        request_id or new_id(), account=account, scope="transcribe", amount=usd(amount), hold_for=HOLD
    )
