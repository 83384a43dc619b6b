"""Errors, named after what happens next. Pure.

MillraceError
├── Outcome                 ends an attempt at a job; the job runner routes by type
│   ├── Retryable           waits, then tries again (bounded attempts)
│   │   ├── OverLimit       took longer than its stage allows: tried again once
│   │   └── OutOfMemory     a local model needs more memory than there is: another model may be asked
│   ├── Poison              dead letter at once: trying again cannot help
│   ├── Denied              parked until the budget has room
│   ├── Paused              the model fails for everybody: wait for it; never counts as an attempt
│   ├── Deferred            goes on later, with the work of others: never counts as an attempt
│   ├── Cancelled           a person has cancelled the share: nothing more is called
│   ├── Skipped             finished: there was nothing to do, and why
│   └── UnknownOutcome      a paid call may or may not have happened: charged, then a new attempt
├── Unavailable             a part of our own is down: wait for it; never counts as an attempt
└── ConfigurationError      the operator must change something; the process ends with this sentence
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from millrace.money import MicroUSD


class MillraceError(Exception):
    """Base of every error that Millrace raises on purpose; its text is one sentence for a person."""


class Outcome(MillraceError):
    """An attempt at a job that ended without a result; the type says where the job goes."""


class Retryable(Outcome):
    """The job waits with growing delay and is tried again, until its attempts are used up."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class OverLimit(Retryable):
    """The stage's hard limit ended it: what took so long once will probably do so again, so it has one more try."""


class OutOfMemory(Retryable):
    """A local model had not the memory that it needs; where another model stands by, that one is asked instead."""


class Poison(Outcome):
    """The original bytes go to the dead-letter topic; trying again cannot help."""


class Skipped(Outcome):
    """The job is finished with a result that says why nothing was done; nothing was bought."""


class UnknownOutcome(Outcome):
    """A call was sent and its end is unknown: it is charged as unconfirmed, then a new attempt asks anew.

    :param paused: the model has failed so often that others wait, too.
    """

    def __init__(self, message: str, *, paused: Paused | None = None) -> None:
        super().__init__(message)
        self.paused = paused


@dataclass(frozen=True)
class Refusal:
    """Why the ledger said no.

    `cap` names the limit (`hour:transcribe`, `day:total`); amounts are micro-US-dollars;
    `room_at` is the start of the first window with room (UTC), None when there will never be (`never`).
    """

    cap: str
    needed_micro_usd: MicroUSD
    left_micro_usd: MicroUSD
    cap_micro_usd: MicroUSD
    room_at: datetime | None


class Denied(Outcome):
    """The ledger refused the money: the job is parked until `refusal.room_at`, nothing was called."""

    def __init__(self, refusal: Refusal, message: str, *, asked: bool = True) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.asked = asked
        """False when it was known without a question that the ledger would refuse."""


class Paused(Outcome):
    """The model fails for everybody: the job waits behind its gate, and no attempt is counted.

    :param wait: until when, or for how long; `shuts`: this job has found out, and closes the gate for that time.
    """

    def __init__(self, message: str, gate: str, wait: datetime | timedelta, *, shuts: bool = False) -> None:
        super().__init__(message)
        self.gate = gate
        self.wait = wait
        self.shuts = shuts


class Deferred(Outcome):
    """What it needs is written down and comes with the work of others, who wake it; it looks again after `wait`."""

    def __init__(self, message: str, wait: timedelta) -> None:
        super().__init__(message)
        self.wait = wait


class Cancelled(Outcome):
    """Somebody has cancelled the share: the job ends, and what it has paid for is kept."""


class Unavailable(MillraceError):
    """Kafka, the registry, PostgreSQL or the ledger does not answer; wait and try again without counting."""


class ConfigurationError(MillraceError):
    """Something the operator must change before the process can run; the text says what."""
