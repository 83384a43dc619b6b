"""Short ways to write requests and to let a partition decide them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Unpack

from typing_extensions import TypedDict

from millrace.clock import from_millis, millis
from millrace.contracts.events import CapMode, CostDecision, CostOp, CostRequest, Window
from millrace.money import MicroUSD
from services.cost_ledger.state import Logged, State

NOON = millis(datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def everybody(account: str) -> bool:
    """All but one account live in this partition."""
    return account != "stranger"


class Fields(TypedDict, total=False):
    """What a request may say besides."""

    amount_micro_usd: MicroUSD
    hold_ms: int
    share_id: str | None
    model: str | None
    window: Window | None
    cap_micro_usd: MicroUSD | None
    mode: CapMode | None
    requested_by: str


def request(
    op: CostOp, request_id: str, account: str = "a", scope: str = "transcribe", **more: Unpack[Fields]
) -> CostRequest:
    """A request; its own time decides nothing."""
    fields: Fields = {"requested_by": "test", **more}
    return CostRequest(
        request_id=request_id,
        op=op,
        account=account,
        scope=scope,
        requested_at=datetime(2000, 1, 1, tzinfo=UTC),
        **fields,
    )


def reserve(
    request_id: str, amount: int, account: str = "a", scope: str = "transcribe", hold_ms: int = 10 * MINUTE
) -> CostRequest:
    """Ask for a hold."""
    return request("reserve", request_id, account, scope, amount_micro_usd=MicroUSD(amount), hold_ms=hold_ms)


def settle(request_id: str, actual: int, account: str = "a") -> CostRequest:
    """Tell the actual cost."""
    return request("settle", request_id, account, amount_micro_usd=MicroUSD(actual))


def set_cap(
    window: Window, cap: int | None, account: str = "default", scope: str = "transcribe", mode: CapMode = "enforce"
) -> CostRequest:
    """Set a cap."""
    amount = None if cap is None else MicroUSD(cap)
    return request(
        "set-cap",
        f"cap-{account}-{scope}-{window}-{cap}",
        account,
        scope,
        window=window,
        cap_micro_usd=amount,
        mode=mode,
    )


class Partition:
    """A partition without Kafka: decides what is appended, one batch a call."""

    def __init__(self, *, caps_are_in: bool = True) -> None:
        self.state = State()
        self.log: list[Logged] = []
        self.decisions: list[CostDecision] = []
        self.now = NOON
        if caps_are_in:
            self.ask(set_cap("day", None, scope="total"))

    @property
    def moment(self) -> datetime:
        """Now."""
        return from_millis(self.now)

    def next(self, one: CostRequest | str, at: int | None = None) -> Logged:
        """Append only."""
        record = Logged(len(self.log), self.now if at is None else at, "a", one)
        self.log.append(record)
        return record

    def ask(self, *requests: CostRequest | str) -> list[CostDecision]:
        """Append and decide; the answers without the opening of a day."""
        batch = self.state.batch([self.next(one) for one in requests], everybody)
        self.state.apply(batch)
        self.decisions += batch.decisions
        return [decision for decision in batch.decisions if decision.outcome != "day-opened"]

    def ask_one(self, one: CostRequest | str) -> CostDecision:
        """Append and decide one request."""
        (answer,) = self.ask(one)
        return answer


def outcomes(decisions: Iterable[CostDecision]) -> list[str]:
    """Just the words."""
    return [decision.outcome for decision in decisions]
