"""What is to be done about a record, given what is known of its job. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from millrace import ids
from millrace.store.ask import JobRow
from millrace.stream.incoming import FRESH, Incoming


@dataclass(frozen=True)
class Ignore:
    """Nothing: it has had its turn, or is known already."""


@dataclass(frozen=True)
class WindUp:
    """The share is cancelled, and nobody has asked for the job since: only what it left open is finished."""

    row: JobRow


@dataclass(frozen=True)
class Forget:
    """The share was deleted: nothing comes of the record, and whoever holds something of the share is told so."""


@dataclass(frozen=True)
class BeginAnew:
    """Somebody asks for a new round of tries; `revive` if the job was cancelled. What is then known decides."""

    revive: bool


@dataclass(frozen=True)
class Go:
    """It is worked on: `attempt` tries have been used up, and its share got this result at `told_at`, if it did."""

    attempt: int
    told_at: datetime | None


def decide(
    incoming: Incoming, row: JobRow | None, key: ids.WorkKey, *, deleted: bool = False
) -> Ignore | Forget | WindUp | BeginAnew | Go:
    """What a record means for its job.

    :param row: what is known of the job; None when nothing is.
    :param key: the work that the record asks for.
    :param deleted: the share was deleted, and whatever asks for it comes too late.
    """
    if deleted:
        return Forget()
    if had_its_turn(incoming, row):
        return Ignore()
    is_cancelled = row is not None and row.cancelled_at is not None
    if row is not None and row.cancelled_at is not None and not incoming.asked_after(row.cancelled_at):
        return WindUp(row)
    if incoming.reason in FRESH:
        return BeginAnew(revive=is_cancelled)
    return go_on(incoming, row, key)


def go_on(incoming: Incoming, row: JobRow | None, key: ids.WorkKey) -> Ignore | Go:
    """The rest of the decision, also once a new round of tries has begun."""
    if _known_already(incoming, row, key):
        return Ignore()
    if row is None or row.work_key != key:
        return Go(attempt=0, told_at=None)
    return Go(row.attempt, row.told_at)


def had_its_turn(incoming: Incoming, row: JobRow | None) -> bool:
    """Kafka delivered again what was brought to an end, or what something later has replaced.

    Then it waits, too: the command that brings it back has a later turn.
    """
    if row is None or row.turn is None or incoming.turn is None:
        return False
    return incoming.turn < row.turn or (incoming.turn == row.turn and (row.published or row.state == "failed"))


def _known_already(incoming: Incoming, row: JobRow | None, key: ids.WorkKey) -> bool:
    """Given up on, with a dead letter: only a new round of tries goes on with it. Or an event about work that is
    finished and emitted; or that waits: then a command will come, and this would be a try too many.
    """
    if row is None or row.work_key != key:
        return False
    if row.state == "failed" or incoming.asked_for:
        return row.state == "failed"
    return row.published or (incoming.reason is None and row.state in ("waiting", "parked"))
