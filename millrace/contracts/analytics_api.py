"""Typed records of the HTTP API for analytics: costs, tasks, budgets, use, models. Money is micro-US-dollars.

A window is whole hours or days (UTC) and ends with the present one, which goes on: `since` is in it, `until` is not.
Percentages are whole numbers that add up to 100, or all 0 where there is nothing to share out.
"""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, JsonValue

from millrace.contracts.api import Answer
from millrace.contracts.budget_api import BudgetRow
from millrace.contracts.events import StageName, TaskState
from millrace.money import MicroUSD

Kind = Literal["transcription", "llm", "vector"]
WindowName = Literal["1h", "24h", "7d", "30d"]
GroupBy = Literal["hour", "day", "model", "stage"]
Bucket = Literal["hour", "day"]


class CostSums(Answer):
    """What the ledger's entries come to; overrun is in settled, too. `calls` counts those that were granted."""

    settled_micro_usd: MicroUSD
    held_micro_usd: MicroUSD
    unconfirmed_micro_usd: MicroUSD
    overrun_micro_usd: MicroUSD
    calls: int


class Units(Answer):
    """What the works came to that finished: tokens, and milliseconds of sound that were billed; None: none said."""

    tokens: int | None = None
    audio_ms: int | None = None


class CostGroup(CostSums):
    """One hour, day (its start), model or stage, and its part of all that was spent: settled, held, unconfirmed.

    `key` is None for calls whose model the ledger was not told.
    """

    key: str | None
    percent: int


class CostBucket(CostSums):
    """One hour or day of a series, also when nothing happened in it."""

    start: AwareDatetime


class CostsAnswer(Answer):
    """Costs of a window. Groups by time are in its order, others begin with the dearest.

    `units` is None when an account was asked for: works belong to no account, as others may share them.
    """

    kind: Kind
    window: WindowName
    group_by: GroupBy
    account: str | None = None
    since: AwareDatetime
    until: AwareDatetime
    totals: CostSums
    units: Units | None = None
    groups: list[CostGroup]
    bucket: Bucket
    series: list[CostBucket]


class CostCall(Answer):
    """A call that was granted; `state` is held, settled, released or unconfirmed, `ended_at` when it became so.

    `called_at` and `answered_at` are known of calls of stages, not of searches.
    """

    request_id: str
    account: str
    stage: str
    share_id: str | None = None
    model: str | None = None
    state: str
    hold_micro_usd: MicroUSD
    actual_micro_usd: MicroUSD | None = None
    overrun_micro_usd: MicroUSD
    granted_at: AwareDatetime
    called_at: AwareDatetime | None = None
    answered_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None


class CallsAnswer(Answer):
    """Calls, newest first; `next` is the cursor of the following page, None on the last."""

    kind: Kind
    window: WindowName
    since: AwareDatetime
    until: AwareDatetime
    calls: list[CostCall]
    next: str | None = None


class Spread(Answer):
    """Milliseconds of the newest `count` that ended in the window; half took at most p50, 95 of 100 at most p95."""

    count: int
    p50_ms: int
    p95_ms: int


class SkipReason(Answer):
    """Why jobs were skipped, and how many."""

    reason: str | None
    jobs: int


class TaskStage(Answer):
    """One stage's jobs that changed in the window.

    `durations`: from a worker's taking the work up to its result, waiting included; None when nothing ended.
    `retries`: tries of these jobs that failed. `dead` counts dead letters of the window, `dead_open` all open ones.
    """

    stage: StageName
    states: dict[TaskState, int]
    durations: Spread | None = None
    retries: int
    skipped: list[SkipReason]
    dead: int
    dead_open: int


class TasksAnswer(Answer):
    """All stages, in the order in which a share goes through them."""

    window: WindowName
    since: AwareDatetime
    until: AwareDatetime
    stages: list[TaskStage]


class BudgetStatusRow(BudgetRow):
    """A scope in a window against its cap; `percent` of the cap that is used, None without one; may exceed 100."""

    used_micro_usd: MicroUSD
    percent: int | None = None


class ParkedWork(Answer):
    """Jobs that wait for room under a cap, and when the first of them goes on."""

    stage: StageName
    cap: str | None
    jobs: int
    needed_micro_usd: MicroUSD
    resume_at: AwareDatetime | None = None


class BudgetStatusAnswer(Answer):
    """An account against its caps; `accounts` are those with spend today, at most 100."""

    account: str
    as_of: AwareDatetime
    rows: list[BudgetStatusRow]
    parked: list[ParkedWork]
    accounts: list[str]


class UseBucket(Answer):
    """What was shared and what was spent in one hour or day."""

    start: AwareDatetime
    shares: int
    calls: int
    settled_micro_usd: MicroUSD


class UserUse(Answer):
    """The same for one user over the window; `user` None: searches, and shares that were deleted since."""

    user: str | None
    shares: int
    calls: int
    settled_micro_usd: MicroUSD
    percent: int
    series: list[UseBucket]


class UseAnswer(Answer):
    """Use of everything, in total and by user, those who spent most first: at most 50 of `users`.

    Those that are left out are in the totals only.
    """

    window: WindowName
    since: AwareDatetime
    until: AwareDatetime
    bucket: Bucket
    series: list[UseBucket]
    users: int
    by_user: list[UserUse]


class ModelFigures(CostSums):
    """One model at one stage.

    `latency` and `failed` are of the newest calls of the window, `looked_at` of them: those that were made and
    answered, and those that ended without an answer. Costs a unit are whole micro-dollars, rounded up: of a million
    tokens and of an hour of sound.
    """

    stage: str
    model: str | None
    units: Units
    micro_usd_per_million_tokens: int | None = None
    micro_usd_per_audio_hour: int | None = None
    looked_at: int
    failed: int
    latency: Spread | None = None


class ModelsAnswer(Answer):
    """All models that were called in the window, the dearest first."""

    window: WindowName
    since: AwareDatetime
    until: AwareDatetime
    models: list[ModelFigures]


class BreakEvenAnswer(Answer):
    """Transcription by an API against a GPU of one's own, over one window. Amounts are rounded up.

    `price_from`: whether the API's price an hour of sound is what was paid in the window, or the list price of
    whisper-1 because nothing was. `gpu_busy_micro_usd` pays for the seconds that the GPU would have worked,
    `gpu_rented_micro_usd` for the whole window. `break_even_audio_ms` is the sound at which the API costs as much as
    the rented GPU; None when one GPU cannot work through so much in the window, or the API costs nothing.
    """

    window: WindowName
    since: AwareDatetime
    until: AwareDatetime
    audio_ms: int
    api_micro_usd: MicroUSD
    api_micro_usd_per_audio_hour: int
    price_from: Literal["paid", "list"]
    gpu_micro_usd_per_hour: MicroUSD
    realtime_factor: str
    gpu_busy_ms: int
    gpu_busy_micro_usd: MicroUSD
    gpu_rented_micro_usd: MicroUSD
    break_even_audio_ms: int | None = None
    cheaper: Literal["api", "gpu", "equal"]


class StageResult(Answer):
    """What a stage has made of a share; `result` is None until it has ended, or when the work was removed."""

    share_id: str
    stage: StageName
    state: TaskState
    reason: str | None = None
    model: str | None = None
    attempt: int
    cost_micro_usd: MicroUSD
    updated_at: AwareDatetime
    began_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    result: JsonValue = None


class PipelineStage(Answer):
    """One stage now. `lag`: records that its workers have not taken yet, by Kafka; None when Kafka does not say.

    `retries_last_hour` counts the failed tries of jobs that moved in the last hour. `paused_until`: when a stage that
    takes nothing new, as too many of its jobs ended as dead letters, tries one; None: it takes what comes.
    """

    stage: StageName
    waiting: int
    queued: int
    running: int
    parked: int
    failed: int
    done_last_hour: int
    done_last_day: int
    retries_last_hour: int
    dead_open: int
    lag: int | None = None
    paused_until: AwareDatetime | None = None


class OutboxView(Answer):
    """Accepted events that Kafka has not confirmed; `oldest_s` is the age of the oldest in seconds."""

    messages: int
    oldest_s: float | None = None


class PipelineAnswer(Answer):
    """All stages, in the order in which a share goes through them."""

    stages: list[PipelineStage]
    outbox: OutboxView


class Sample(Answer):
    """One figure of a metric; `value` is None where it is no finite number."""

    name: str
    labels: dict[str, str]
    value: float | None


class Metric(Answer):
    """A metric of this process, as Prometheus knows it."""

    name: str
    type: str
    help: str
    samples: list[Sample]


class MetricsAnswer(Answer):
    """All metrics of the gateway's process."""

    metrics: list[Metric]


class FetchReason(Answer):
    """Why fetching ended without media, and how often."""

    state: str
    reason: str | None
    jobs: int


class FetchPlatform(Answer):
    """What fetching has come to for one platform; `durations` as those of a stage."""

    platform: str
    states: dict[TaskState, int]
    retries: int
    dead: int
    dead_open: int
    durations: Spread | None = None
    reasons: list[FetchReason]


class FetchAnswer(Answer):
    """The media agent's fetching in a window, by platform; at most ten reasons each, the commonest first."""

    window: WindowName
    since: AwareDatetime
    until: AwareDatetime
    platforms: list[FetchPlatform]
