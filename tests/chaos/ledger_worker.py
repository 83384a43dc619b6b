"""Workers for the chaos of the ledger. `python -m tests.chaos.ledger_worker worst-moment|no-fencing|answer-first`.

worst-moment: the ledger as it is, but STOP_YOURSELF stops the process where a pause is worst: a batch is decided and
not yet written. Nothing of it may count when the process goes on after somebody else has taken the partition over.

The others are broken on purpose, and the oracle has to notice:

no-fencing: the same, and nothing keeps a former owner out: a transactional id a process instead of one a partition,
and rows are taken as they lie, whatever their digest. What it writes when it wakes up overshoots the cap at the next
load.
answer-first: answers leave before the rows behind them are durable, and now and then nothing follows: the money is
granted, and the hold is lost.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Iterable, Mapping

from services.cost_ledger import admission, log
from services.cost_ledger.__main__ import main
from services.cost_ledger.rows import Position
from services.cost_ledger.state import Batch, State, Written
from tests.chaos.worker import STOP_YOURSELF

checked_load = State.load
stop_asked = threading.Event()


class WorstMoment(log.PartitionLog):
    """Stops between deciding and writing, when asked to."""

    def commit(self, batch: Batch, traces: Mapping[int, str | None]) -> None:
        """See `PartitionLog.commit`."""
        granted = any(decision.outcome == "granted" and decision.previous is None for decision in batch.decisions)
        if granted and stop_asked.is_set():
            stop_asked.clear()
            os.kill(os.getpid(), signal.SIGSTOP)
        super().commit(batch, traces)


class AnswerFirst(log.PartitionLog):
    """Answers in one transaction, and makes what is behind them durable in the next one, if it lives."""

    def commit(self, batch: Batch, traces: Mapping[int, str | None]) -> None:
        """Broken on purpose."""
        super().commit(Batch(batch.decisions, [], batch.position), traces)
        if random.random() < 0.002:  # noqa: S311  # the very moment that one transaction is there for
            os._exit(1)
        super().commit(Batch([], batch.written, batch.position), traces)


def load_unchecked(self: State, written: Iterable[Written], position: Position) -> bool:
    """Broken on purpose: rows are believed whatever their digest says."""
    checked_load(self, written, position)
    return True


def unfenced(self: log.LogSetup, partition: int) -> tuple[str, ...]:
    """Broken on purpose."""
    return tuple(f"{self.app_id}-{partition}-{os.getpid()}-{turn}" for turn in "ab")


if __name__ == "__main__":
    kind = sys.argv.pop()
    signal.signal(STOP_YOURSELF, lambda *_: stop_asked.set())
    admission.PartitionLog = AnswerFirst if kind == "answer-first" else WorstMoment  # type: ignore[attr-defined]
    if kind != "worst-moment":
        State.load = load_unchecked  # type: ignore[method-assign]  # as a bug would
    if kind == "no-fencing":
        log.LogSetup.transactional_ids = unfenced  # type: ignore[method-assign]  # as a bug would
    main()
