"""Typed records of the HTTP API, shared by the gateway that writes them and the clients that read them.

Money is in micro-US-dollars, times are UTC, durations and moments are milliseconds of the original media.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from millrace.contracts.events import (
    DEFAULT_ACCOUNT,
    AlertKind,
    CapMode,
    Segment,
    SourceKind,
    StageName,
    TaskState,
    Window,
)
from millrace.money import ZERO, MicroUSD, written_usd

ShareState = Literal["queued", "running", "waiting", "parked", "done", "failed", "cancelled"]
"""Of a share as a whole; `done` also when stages were skipped, each saying why."""
CancelOutcome = Literal["cancelled", "stopping", "over"]
"""Of a stage: it does not begin, or go on; it runs, and is being stopped; it had ended before and stays so."""
SearchMode = Literal["hybrid", "semantic", "keyword"]
MatchedBy = Literal["semantic", "keyword"]
BudgetScope = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,31}$", examples=["transcribe", "total"])]
"""What a cap is about: a stage that spends, `search`, or `total` for an account's uses together."""
CapSource = Literal["budgets-file", "request"]
ContentType = Literal["video", "audio", "article", "caption", "comment", "tweet", "post"]


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
AccountName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


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


class ShareRequest(BaseModel):
    """What somebody shares: exactly one of `url`, `text` and a file (a form's part `file`, not a field)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = None
    text: str | None = None
    title: Annotated[str, Field(max_length=500)] | None = None
    description: Annotated[str, Field(max_length=10_000)] | None = None
    language: Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] | None = Field(
        default=None, description="BCP 47 tag such as en or de-CH"
    )
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=50)] = []
    content_type: ContentType | None = None
    account: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        default=DEFAULT_ACCOUNT, description="Who pays"
    )


class Answer(BaseModel):
    """Base of every answer; a reader ignores fields that a newer gateway adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Problem(Answer):
    """RFC 9457 problem details; `detail` is one sentence for a person."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None


class Accepted(Answer):
    """A share was accepted; `repeated` when the idempotency key had been used for the same share before."""

    share_id: str
    href: str
    stages: list[StageName]
    repeated: bool = False


class CancelledStage(Answer):
    """What a cancel has come to for one stage; `state` is where the stage stands now."""

    stage: StageName
    state: TaskState
    outcome: CancelOutcome

    @classmethod
    def of(cls, stage: StageName, state: TaskState) -> Self:
        """What it has come to for a stage that is in this state behind it."""
        outcomes: dict[TaskState, CancelOutcome] = {"cancelled": "cancelled", "running": "stopping"}
        return cls(stage=stage, state=state, outcome=outcomes.get(state, "over"))


class CancelAnswer(Answer):
    """A share was cancelled; a stage that is `stopping` may still turn out to have ended before."""

    share_id: str
    stages: list[CancelledStage]


class StageView(Answer):
    """Where one stage stands; amounts and `resume_at` are set while it is parked."""

    stage: StageName
    state: TaskState
    reason: str | None = None
    progress: float | None = None
    resume_at: AwareDatetime | None = None
    needed_micro_usd: MicroUSD | None = None
    left_micro_usd: MicroUSD | None = None
    cap: str | None = None
    attempt: int = 0
    model: str | None = None
    cost_micro_usd: MicroUSD = ZERO
    updated_at: AwareDatetime


class TranscriptView(Answer):
    """What was said, or why there is no transcript; `note` says so when its segments are gone."""

    text: str
    segments: list[Segment] = []
    language: str | None = None
    backend: str
    model: str
    duration_ms: int | None = None
    billed_ms: int | None = None
    skipped_reason: str | None = None
    note: str | None = None


class SummaryView(Answer):
    """The summary, or why there is none."""

    summary: str
    key_points: list[str] = []
    tags: list[str] = []
    category: str | None = None
    quality: float | None = None
    backend: str
    model: str
    skipped_reason: str | None = None


class EmbeddingView(Answer):
    """How the share can be found by meaning, or why it cannot."""

    backend: str
    model: str
    dimensions: int
    chunker: str | None = None
    chunk_count: int
    skipped_reason: str | None = None


class Receipt(Answer):
    """One call of a model and the money behind it.

    `reused`: the work had been done for another share, so this share paid nothing for it.
    """

    stage: StageName
    model: str
    call_no: int
    attempt: int
    state: str
    hold_micro_usd: MicroUSD
    actual_micro_usd: MicroUSD | None = None
    reason: str | None = None
    reused: bool = False
    request_id: str
    asked_at: AwareDatetime


class ShareView(Answer):
    """A share with its stages, its results so far and its receipts."""

    share_id: str
    account: str
    owner: str
    source_kind: SourceKind
    url: str | None = None
    filename: str | None = None
    platform: str
    content_type: str
    title: str | None = None
    description: str | None = None
    language: str | None = None
    tags: list[str] = []
    created_at: AwareDatetime
    state: ShareState
    stages: list[StageView]
    transcript: TranscriptView | None = None
    summary: SummaryView | None = None
    embedding: EmbeddingView | None = None
    receipts: list[Receipt] = []
    cost_micro_usd: MicroUSD = ZERO


class SearchHit(Answer):
    """A passage of a share; `start_ms` is its moment, None in text shares.

    `score` orders the hits of one answer and means nothing beyond it; `similarity` is the cosine, -1 to 1, where
    the passage was found by meaning.
    """

    share_id: str
    title: str | None = None
    url: str | None = None
    text: str
    start_ms: int | None = None
    end_ms: int | None = None
    score: float
    similarity: float | None = None
    matched_by: list[MatchedBy]


class SearchAnswer(Answer):
    """Hits, best first.

    `mode` is what was done; `note` says why when it is not what was asked for, and which cap the query was above that
    only warns.
    """

    query: str
    mode: SearchMode
    note: str | None = None
    hits: list[SearchHit]


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
