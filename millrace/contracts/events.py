"""Typed records of every topic: what `schemas/avro` says, as Python. Pure.

Field meanings, units and allowed words are written once, as `doc` in the schemas. Words that may grow
(states, outcomes) are Avro strings, because a new enum symbol would break FULL_TRANSITIVE compatibility;
here they are `Literal`s, so that a service can neither write nor act on a word it does not know.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from millrace.money import ZERO, MicroUSD

SourceKind = Literal["url", "upload", "text"]
StageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,31}$", examples=["transcribe"])]
"""A stage of `schemas/topics.yaml`, or of a folder that adds to it."""
TaskState = Literal["queued", "running", "waiting", "parked", "done", "skipped", "failed", "cancelled"]
RequestReason = Literal["api", "replay", "redrive", "retry", "budget", "lease", "batch", "local"]
CostOp = Literal["reserve", "settle", "release", "unknown", "expire", "reconcile", "set-cap"]
CostOutcome = Literal[
    "granted",
    "denied",
    "settled",
    "released",
    "unconfirmed",
    "reconciled",
    "cap-changed",
    "unchanged",
    "day-opened",
    "invalid",
]
HoldState = Literal["held", "unconfirmed", "released", "settled", "denied"]
Window = Literal["hour", "day"]
DEFAULT_ACCOUNT: Final = "default"
"""Who pays when nobody is named. Its caps apply to every account that has none of its own."""
EMBED_CHUNKER: Final = "embed.chunker"
"""Option of a share: how its text is cut before it is embedded."""
CapMode = Literal["enforce", "warn"]
AlertKind = Literal["threshold", "overrun", "forecast"]

Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
"""Avro's `int`. fastavro would write more bits, which other readers refuse."""


class Event(BaseModel):
    """Base of every record; immutable, and strict about fields it does not know."""

    # Bytes are base64 in JSON (golden examples, rows in PostgreSQL): they are not UTF-8 in general.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class ShareEvent(Event):
    """What is about one share; `share_id` is the message key."""

    share_id: str
    account: str = DEFAULT_ACCOUNT


class ShareCreated(ShareEvent):
    """Somebody shared something."""

    owner: str
    source_kind: SourceKind
    url: str | None = None
    blob_key: str | None = None
    text: str | None = None
    filename: str | None = None
    platform: str
    content_type: str
    title: str | None = None
    description: str | None = None
    language: str | None = None
    tags: list[str] = []
    options: dict[str, str] = {}
    created_at: AwareDatetime


class ResultEvent(ShareEvent):
    """What a stage produced; `cost_micro_usd` is what the work cost when it was done."""

    cost_micro_usd: MicroUSD = ZERO
    work_key: str
    produced_at: AwareDatetime


class SkippableEvent(ResultEvent):
    """A result of a stage that may have had nothing to do: then `skipped_reason` says why."""

    skipped_reason: str | None = None


class MediaReady(SkippableEvent):
    """The share's media is in the media store and was probed; or its page has none, and what that says instead."""

    blob_key: str
    media_url: str
    sha256: str
    size_bytes: int
    duration_ms: int
    format: str
    has_video: bool
    has_audio: bool
    audio_codec: str | None = None
    video_codec: str | None = None
    title: str | None = None
    source_url: str | None = None
    metadata: dict[str, str] = {}
    estimated_cost_micro_usd: MicroUSD = ZERO
    caption: str | None = None


class Word(Event):
    """One spoken word; times in milliseconds of the original media."""

    start_ms: int
    end_ms: int
    text: str


class Segment(Event):
    """A stretch of speech; times in milliseconds of the original media."""

    start_ms: int
    end_ms: int
    text: str
    words: list[Word] | None = None


class TranscriptReady(SkippableEvent):
    """What was said in the share, or why there is no transcript."""

    language: str | None = None
    text: str
    segments: list[Segment] = []
    segments_ref: str | None = None
    duration_ms: int
    billed_ms: int
    title: str | None = None
    backend: str
    model: str


class SummaryReady(SkippableEvent):
    """The summary of a share, or why there is none."""

    source: Literal["transcript", "text"]
    summary: str
    key_points: list[str] = []
    tags: list[str] = []
    category: str | None = None
    quality: float | None = None
    language: str | None = None
    backend: str
    model: str
    tokens_in: int = 0
    tokens_out: int = 0
    truncated: bool = False
    parts: Int32 = 0
    links: list[str] = []
    emails: Int32 = 0
    code_blocks: Int32 = 0


class EmbeddingReady(SkippableEvent):
    """The share can be found by meaning."""

    source: Literal["transcript", "text"]
    types: list[str] = []
    backend: str
    model: str
    dimensions: Int32
    chunker: str
    chunk_count: Int32
    tokens: int = 0


class StageRequested(ShareEvent):
    """A stage shall work on a share: asked for, replayed, or done with waiting."""

    stage: StageName
    reason: RequestReason
    origin_topic: str
    origin_key: bytes | None = None
    origin_value: bytes
    origin_headers: dict[str, bytes] = {}
    options: dict[str, str] = {}
    force: bool = False
    requested_by: str
    requested_at: AwareDatetime


class TaskStatus(ShareEvent):
    """Where one stage of one share stands."""

    stage: StageName
    state: TaskState
    progress: float | None = None
    reason: str | None = None
    resume_at: AwareDatetime | None = None
    needed_micro_usd: MicroUSD | None = None
    left_micro_usd: MicroUSD | None = None
    cap: str | None = None
    attempt: Int32 = 0
    model: str | None = None
    work_key: str | None = None
    cost_micro_usd: MicroUSD = ZERO
    updated_at: AwareDatetime


class CostRequest(Event):
    """Asks the ledger for something; keyed by account."""

    request_id: str
    op: CostOp
    account: str
    scope: str
    amount_micro_usd: MicroUSD = ZERO
    hold_ms: int = 0
    share_id: str | None = None
    model: str | None = None
    work_key: str | None = None
    window: Window | None = None
    cap_micro_usd: MicroUSD | None = None
    mode: CapMode | None = None
    requested_by: str
    requested_at: AwareDatetime


class CostDecision(Event):
    """What the ledger decided; readers must read committed."""

    request_id: str
    op: CostOp
    outcome: CostOutcome
    account: str
    scope: str
    amount_micro_usd: MicroUSD = ZERO
    actual_micro_usd: MicroUSD = ZERO
    overrun_micro_usd: MicroUSD = ZERO
    previous: HoldState | None = None
    hour_start: AwareDatetime | None = None
    day_start: AwareDatetime | None = None
    denied_by: str | None = None
    left_micro_usd: MicroUSD | None = None
    cap_micro_usd: MicroUSD | None = None
    room_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    window: Window | None = None
    mode: CapMode | None = None
    share_id: str | None = None
    model: str | None = None
    work_key: str | None = None
    reason: str | None = None
    request_offset: int
    decided_at: AwareDatetime


class CostSpend(Event):
    """Spend of a scope in one window."""

    account: str
    scope: str
    window: Window
    start: AwareDatetime
    settled_micro_usd: MicroUSD
    held_micro_usd: MicroUSD
    unconfirmed_micro_usd: MicroUSD
    overrun_micro_usd: MicroUSD
    cap_micro_usd: MicroUSD | None = None
    calls: int
    as_of_offset: int
    updated_at: AwareDatetime


class CostAlert(Event):
    """A budget reached a threshold, or will."""

    account: str
    scope: str
    window: Window
    start: AwareDatetime
    kind: AlertKind
    percent: Int32
    used_micro_usd: MicroUSD
    cap_micro_usd: MicroUSD
    exhausted_at: AwareDatetime | None = None
    raised_at: AwareDatetime


EVENT_TYPES: dict[str, type[Event]] = {
    "share.created": ShareCreated,
    "media.ready": MediaReady,
    "transcript.ready": TranscriptReady,
    "summary.ready": SummaryReady,
    "embedding.ready": EmbeddingReady,
    "stage.requested": StageRequested,
    "task.status": TaskStatus,
    "cost.requests": CostRequest,
    "cost.decisions": CostDecision,
    "cost.spend": CostSpend,
    "cost.alerts": CostAlert,
}
"""Record type by schema name (every `<stage>.requested` topic carries `stage.requested`)."""
