"""Typed records of the HTTP API for dead letters. Times are UTC, bytes are in base64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from millrace.contracts.api import Answer, Moment
from millrace.contracts.events import StageName

DeadState = Literal["open", "redriven", "discarded"]
"""`open`: nobody has decided about it yet."""
ErrorName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$", examples=["Poison", "Retryable"])]
MOST_AT_ONCE = 500


class DeadLetterView(Answer):
    """A message that a stage gave up on, without the message.

    `place` is where the dead letter lies, `origin` where the message came from: `topic-partition@offset`, or a topic
    alone. `changed_at` and `changed_by` say who redrove or discarded it.
    """

    id: str
    stage: StageName
    state: DeadState
    share_id: str | None = None
    error: str
    reason: str
    attempts: int
    died_at: AwareDatetime
    place: str
    origin: str | None = None
    work_key: str | None = None
    size_bytes: int
    changed_at: AwareDatetime | None = None
    changed_by: str | None = None


class DeadLetter(DeadLetterView):
    """A dead letter with everything that is known: the original message, and what it says where it can be read now.

    `unreadable` says why it cannot.
    """

    service: str
    stack: str
    options: dict[str, str] | None = None
    key: str
    value: str
    headers: dict[str, str]
    event: JsonValue = None
    unreadable: str | None = None


class DeadFilter(BaseModel):
    """Which dead letters are listed: all, or those of which everything that is given holds.

    `cursor` is `next` of the answer before, for what is older.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: StageName | None = None
    state: DeadState | None = None
    error: ErrorName | None = None
    share: Annotated[str, Field(pattern=r"^[^\x00]{1,500}$")] | None = None
    since: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = 100
    cursor: Annotated[str, Field(pattern=r"^[0-9]{1,18}$")] | None = None


class DeadLettersAnswer(Answer):
    """Dead letters, newest first; `next` is the cursor for older ones, None when there are none."""

    letters: list[DeadLetterView]
    next: str | None = None


class Changed(Answer):
    """A dead letter that was redriven or discarded; `repeated` when it had been before."""

    id: str
    stage: StageName
    state: DeadState
    share_id: str | None = None
    changed_at: AwareDatetime
    changed_by: str
    repeated: bool = False


class Selection(BaseModel):
    """Which open dead letters are meant: those of a stage, of one error, that died since a time.

    `dry_run` counts them and changes nothing. At most `limit` are done at once; `cursor` is `next` of the answer
    before, and keeps those out that die meanwhile.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: StageName
    error: ErrorName | None = None
    since: Moment | None = None
    dry_run: bool = False
    limit: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = 100
    cursor: Annotated[str, Field(pattern=r"^[0-9]{1,18}\.[0-9]{1,18}\.[0-9a-f]{32}$")] | None = None


class Refused(Answer):
    """A dead letter that cannot be redriven, and why."""

    id: str
    reason: str


class ManyChanged(Answer):
    """How many were meant (from the cursor on), how many of these were changed now, and which could not be.

    `next` is the cursor to go on with, None when that was the last.
    """

    matched: int
    changed: int
    refused: Sequence[Refused] = ()
    next: str | None = None
