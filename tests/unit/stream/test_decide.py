"""What a record means for its job, given what is known of that."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from millrace.contracts.dead import Place
from millrace.contracts.events import RequestReason
from millrace.ids import WorkKey
from millrace.kafka.records import Message, Partition
from millrace.store.ask import JobRow
from millrace.store.turns import Turn
from millrace.stream.decide import BeginAnew, Forget, Go, Ignore, WindUp, decide, go_on
from millrace.stream.incoming import Incoming, Original
from millrace.testing import NOW, share_created

KEY, OTHER = WorkKey("summarize:one"), WorkKey("summarize:other")
EARLIER, LATER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
RUNNING = JobRow(KEY, "running", attempt=1, published=False)
WAITING = replace(RUNNING, state="waiting")
FAILED = replace(RUNNING, state="failed", attempt=3)
DONE = replace(RUNNING, state="done", published=True, told_at=NOW)
CANCELLED = replace(RUNNING, state="cancelled", cancelled_at=NOW)


def record(reason: RequestReason | None = None, at: datetime = NOW, *, turn: datetime | None = None) -> Incoming:
    """An event, or a command for that reason, given at that time."""
    message = Message(Partition("share.created", 0), 1, b"k", b"v", {})
    return Incoming(
        message,
        share_created(text="words"),
        Original(Place("share.created", 0, 1), b"k", b"v", {}),
        reason=reason,
        requested_at=None if reason is None else at,
        turn=None if turn is None else Turn(turn),
    )


@pytest.mark.parametrize(
    ("incoming", "row", "decision"),
    [
        (record(), None, Go(0, None)),
        (record(), RUNNING, Go(1, None)),
        (record(), replace(RUNNING, work_key=OTHER), Go(0, None)),  # other work has its own tries
        (record(), WAITING, Ignore()),  # a command will come
        (record("retry"), WAITING, Go(1, None)),
        (record(), DONE, Ignore()),
        (record("retry"), DONE, Ignore()),
        (record(), FAILED, Ignore()),
        (record("retry"), FAILED, Ignore()),
        (record("api"), DONE, BeginAnew(revive=False)),
        (record("redrive"), FAILED, BeginAnew(revive=False)),
        (record("replay"), None, BeginAnew(revive=False)),
        (record(), CANCELLED, WindUp(CANCELLED)),
        (record("retry", LATER), CANCELLED, WindUp(CANCELLED)),  # nobody has asked for it since
        (record("api", EARLIER), CANCELLED, WindUp(CANCELLED)),
        (record("api", LATER), CANCELLED, BeginAnew(revive=True)),
        (record(turn=EARLIER), replace(RUNNING, turn=Turn(NOW)), Ignore()),  # something later has replaced it
        (record("api", LATER, turn=EARLIER), replace(RUNNING, turn=Turn(NOW)), Ignore()),
        (record(turn=NOW), replace(FAILED, turn=Turn(NOW)), Ignore()),
        (record(turn=NOW), replace(RUNNING, turn=Turn(NOW)), Go(1, None)),  # its worker has died
        (record(turn=LATER), replace(DONE, turn=Turn(NOW)), Ignore()),
        (record(turn=LATER), replace(DONE, work_key=OTHER, turn=Turn(NOW)), Go(0, None)),
    ],
)
def test_what_a_record_means_for_its_job(
    incoming: Incoming, row: JobRow | None, decision: Ignore | WindUp | BeginAnew | Go
) -> None:
    assert decide(incoming, row, KEY) == decision


@pytest.mark.parametrize(
    ("incoming", "row", "decision"),
    [
        (record("api"), DONE, Go(1, NOW)),  # it is told again, at the time of the first telling
        (record("redrive"), replace(FAILED, state="queued", attempt=0), Go(0, None)),
        (record("replay"), None, Go(0, None)),
        (record("api"), FAILED, Ignore()),  # its round was given before, and has failed since
    ],
)
def test_what_comes_of_a_new_round(incoming: Incoming, row: JobRow | None, decision: Ignore | Go) -> None:
    assert go_on(incoming, row, KEY) == decision


@pytest.mark.parametrize("incoming", [record(), record("retry"), record("api", LATER), record("replay", LATER)])
def test_whatever_asks_for_a_deleted_share_comes_too_late(incoming: Incoming) -> None:
    assert decide(incoming, None, KEY, deleted=True) == Forget()
