"""Typed records of the HTTP API for shares: what is shared, and what came of it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from millrace.contracts.api import AccountName, Answer
from millrace.contracts.events import DEFAULT_ACCOUNT, Segment, SourceKind, StageName, TaskState
from millrace.money import ZERO, MicroUSD

ShareState = Literal["queued", "running", "waiting", "parked", "done", "failed", "cancelled"]
"""Of a share as a whole; `done` also when stages were skipped, each saying why."""


CancelOutcome = Literal["cancelled", "stopping", "over"]
"""Of a stage: it does not begin, or go on; it runs, and is being stopped; it had ended before and stays so."""


TextChunker = Literal["auto", "none", "paragraph", "sentence", "fixed"]
"""How a text may be cut before it is embedded; see docs/embeddings.md."""
MOST_SHARES = 200
"""Of a page of shares."""
ContentType = Literal["video", "audio", "article", "caption", "comment", "tweet", "post"]


class ShareRequest(BaseModel):
    """What somebody shares: exactly one of `url`, `text` and a file (a form's part `file`, not a field)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"url": "https://example.org/talk.mp4", "tags": ["talks"]}]},
    )

    url: str | None = None
    text: str | None = None
    title: Annotated[str, Field(max_length=500)] | None = None
    description: Annotated[str, Field(max_length=10_000)] | None = None
    language: Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] | None = Field(
        default=None, description="BCP 47 tag such as en or de-CH"
    )
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=50)] = []
    content_type: ContentType | None = None
    chunker: TextChunker | None = Field(
        default=None,
        description="How the text is cut for search; of texts only, as transcripts are cut by their times",
    )
    account: AccountName = Field(default=DEFAULT_ACCOUNT, description="Who pays")


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


class DeletedShare(Answer):
    """A share that is not there any more, as `millrace share delete --json` prints it."""

    share_id: str
    deleted: Literal[True] = True


class RetryAnswer(Answer):
    """The stages of a share that are tried again, in the order of stages; none when there was nothing to try.

    `left` are those that failed or were cancelled and cannot be tried again this way, each with a sentence that says
    why.
    """

    share_id: str
    stages: list[StageName]
    left: dict[StageName, str] = Field(default_factory=dict)


class StageWish(BaseModel):
    """How a stage shall work on a share once more.

    `force`: also if the work is finished, and paid for again. `backend`: by an API, or by a model of the agent's own
    machine. `model` is one that the stage knows, `chunker` one of docs/embeddings.md. A stage that cannot do it gives
    the share up, and its reason says so.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_extra={"examples": [{"chunker": "sentence", "force": False}]}
    )

    force: bool = False
    backend: Literal["api", "local"] | None = None
    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}$")] | None = None
    chunker: Annotated[str, Field(pattern=r"^[a-z]{1,32}$")] | None = None

    @property
    def options(self) -> dict[str, str]:
        """As commands carry them."""
        wished = {"backend": self.backend, "model": self.model, "chunker": self.chunker}
        return {name: value for name, value in wished.items() if value is not None}


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


class StageProgress(Answer):
    """Where one stage of a share in a list stands."""

    stage: StageName
    state: TaskState
    progress: float | None = None


class ShareRow(Answer):
    """A share in a list, without its results."""

    share_id: str
    title: str | None = None
    source_kind: SourceKind
    url: str | None = None
    filename: str | None = None
    platform: str
    content_type: str
    tags: list[str] = Field(default_factory=list)
    created_at: AwareDatetime
    state: ShareState
    cost_micro_usd: MicroUSD = ZERO
    stages: list[StageProgress]


class ShareFilter(BaseModel):
    """Which shares are listed: all of one's own, or those of which everything that is given holds.

    `cursor` is `next` of the answer before, for what is older.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: ShareState | None = None
    kind: SourceKind | None = None
    account: AccountName | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_SHARES)] = 50
    cursor: Annotated[str, Field(max_length=600)] | None = None


class SharesAnswer(Answer):
    """Shares, newest first; `next` is the cursor for older ones, None when there are none.

    With a filter a page may hold fewer than were asked for, even none, and still have a `next`.
    """

    shares: list[ShareRow]
    next: str | None = None


class TranscriptView(Answer):
    """What was said, or why there is no transcript; `note` says so when its segments are gone."""

    text: str
    segments: list[Segment] = Field(default_factory=list)
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
    key_points: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    category: str | None = None
    quality: float | None = None
    backend: str
    model: str
    language: str | None = None
    truncated: bool = False
    parts: int = 0
    links: list[str] = Field(default_factory=list)
    emails: int = 0
    code_blocks: int = 0
    skipped_reason: str | None = None


class EmbeddingView(Answer):
    """How the share can be found by meaning, or why it cannot; `types` are the kinds of vectors that it has."""

    backend: str
    model: str
    dimensions: int
    chunker: str | None = None
    chunk_count: int
    types: list[str] = Field(default_factory=list)
    skipped_reason: str | None = None


class QualityView(Answer):
    """How much of the text is worth reading, 0 to 1: as a model has said with the summary, or else by rule.

    `parts` are those of the rule, each 0 to 1: length, sentences, repetition, links, shouting, vocabulary.
    """

    score: float
    by: Literal["model", "rule"]
    parts: dict[str, float] = Field(default_factory=dict)


class Receipt(Answer):
    """One call of a model and the money behind it.

    `reused`: the work had been done for another share, so this share paid nothing for it.
    `works`: how many pieces of work share the call: the amount is this one's part, the hold that of the whole call.
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
    works: int = 1
    request_id: str
    asked_at: AwareDatetime


class ShareView(Answer):
    """A share with its stages, its results so far and its receipts.

    `language` is what was said with the share, `text_language` what its text looks like.
    """

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
    tags: list[str] = Field(default_factory=list)
    created_at: AwareDatetime
    state: ShareState
    stages: list[StageView]
    transcript: TranscriptView | None = None
    summary: SummaryView | None = None
    embedding: EmbeddingView | None = None
    quality: QualityView | None = None
    text_language: str | None = None
    receipts: list[Receipt] = Field(default_factory=list)
    cost_micro_usd: MicroUSD = ZERO
