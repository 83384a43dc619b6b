"""Typed records of the HTTP API for budgets: spend, caps, alerts, and calls whose end nobody knows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from millrace.contracts.api import AccountName, Answer
from millrace.contracts.events import DEFAULT_ACCOUNT, AlertKind, CapMode, Window
from millrace.money import MicroUSD, written_usd

BudgetScope = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,31}$", examples=["transcribe", "total"])]
"""What a cap is about: a stage that spends, `search`, or `total` for an account's uses together."""


CapSource = Literal["budgets-file", "request"]


def _written(text: str) -> str:
    try:
        written_usd(text)
    except ValueError as exc:
        raise PydanticCustomError("dollars", "{why}", {"why": str(exc)}) from exc
    return text


Dollars = Annotated[
    str, AfterValidator(_written), Field(examples=["2.50"], description="US dollars, at most six decimals")
]
"""An amount that a person wrote; a string, because a JSON number is not an amount of money."""


class CapRequest(BaseModel):
    """What a cap shall be. `cap` null: no limit; `mode` left out: as it is, or enforce where there is no cap yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: AccountName = Field(
        default=DEFAULT_ACCOUNT, description="Whose; the caps of `default` hold for all accounts without their own"
    )
    window: Window
    cap: Dollars | None
    mode: CapMode | None = None


class ReconcileRequest(BaseModel):
    """What the provider billed for a call whose outcome nobody knew; `actual` 0: it was not billed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    actual: Dollars
    account: AccountName | None = Field(default=None, description="Needed only where two accounts have this id")


class AlertView(Answer):
    """A budget reached `percent` of its cap, will be used up at `exhausted_at`, or paid for a call above its hold.

    `used_micro_usd` counts what is settled, held and unconfirmed; `percent` is 0 for an overrun.
    """

    alert_id: str
    account: str
    scope: str
    window: Window
    start: AwareDatetime
    kind: AlertKind
    percent: int
    used_micro_usd: MicroUSD
    cap_micro_usd: MicroUSD
    exhausted_at: AwareDatetime | None = None
    raised_at: AwareDatetime


class AlertsAnswer(Answer):
    """Alerts, newest first; `next` is the cursor for older ones, None when there are none."""

    account: str
    alerts: list[AlertView]
    next: str | None = None


class BudgetRow(Answer):
    """Spend of a scope in the present hour or day; `left_micro_usd` and the cap are None where there is no cap.

    `exhausted_at`: when the cap will be reached at the rate so far; None when the window ends first.
    """

    account: str
    scope: str
    window: Window
    start: AwareDatetime
    settled_micro_usd: MicroUSD
    held_micro_usd: MicroUSD
    unconfirmed_micro_usd: MicroUSD
    overrun_micro_usd: MicroUSD
    cap_micro_usd: MicroUSD | None = None
    mode: CapMode | None = None
    left_micro_usd: MicroUSD | None = None
    calls: int
    exhausted_at: AwareDatetime | None = None


class BudgetAnswer(Answer):
    """What an account has spent, and what is left; `note` says so when the ledger has nothing to tell yet."""

    account: str
    as_of: AwareDatetime
    rows: list[BudgetRow]
    note: str | None = None


class Cap(Answer):
    """A cap in force; `cap_micro_usd` None: no limit.

    `account` is the one it was set for: `default` where an account has none of its own. `set_by` says whether the
    budgets file or somebody's request set it; `since` is when the ledger decided that.
    """

    account: str
    scope: str
    window: Window
    cap_micro_usd: MicroUSD | None = None
    mode: CapMode
    set_by: CapSource
    since: AwareDatetime


class CapsAnswer(Answer):
    """The caps that hold for an account."""

    account: str
    caps: list[Cap]


class CapChange(Answer):
    """What was in force before and is now; `changed` False: the same request had been decided before.

    `woken` counts the parked stages of shares that go on because of it.
    """

    before: Cap | None = None
    now: Cap
    changed: bool
    woken: int


class UnconfirmedCall(Answer):
    """A call of which nobody knows whether it was billed; `amount_micro_usd` stays charged until it is reconciled."""

    request_id: str
    account: str
    scope: str
    share_id: str | None = None
    model: str | None = None
    amount_micro_usd: MicroUSD
    since: AwareDatetime


class UnconfirmedAnswer(Answer):
    """Unconfirmed calls, oldest first; `next` is the cursor of the following page, None on the last."""

    calls: list[UnconfirmedCall]
    next: str | None = None


class Reconciled(Answer):
    """A call that is no longer unconfirmed; `repeated` when it had been settled at this amount before."""

    request_id: str
    account: str
    scope: str
    amount_micro_usd: MicroUSD
    actual_micro_usd: MicroUSD
    overrun_micro_usd: MicroUSD
    repeated: bool = False
