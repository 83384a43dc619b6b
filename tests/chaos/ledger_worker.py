"""Workers that are broken on purpose: the oracle has to notice. `python -m tests.chaos.ledger_worker CONTROL`.

no-fencing: a transactional id a process instead of one a partition, so that a paused former owner is not shut out.
answer-first: decisions leave before the transaction that makes them durable, and now and then nothing follows.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Mapping

from confluent_kafka import Producer

from services.cost_ledger import admission, log
from services.cost_ledger.__main__ import main
from services.cost_ledger.state import Batch


class AnswerFirst(log.PartitionLog):
    """Answers, then makes it durable, if it lives."""

    def commit(self, batch: Batch, traces: Mapping[int, str | None]) -> None:
        """Broken on purpose."""
        early = Producer({"bootstrap.servers": self._setup.kafka, "acks": "all"})
        for decision in batch.decisions:
            record = self._decision(decision, traces)
            early.produce(record.topic, record.value, record.key, self._partition, headers=[*record.headers])
        early.flush(10)
        if random.random() < 0.002:  # noqa: S311  # the very moment that the transaction is there for
            os._exit(1)
        super().commit(Batch([], batch.written, batch.position), traces)


def unfenced(self: log.LogSetup, partition: int) -> tuple[str, ...]:
    """Broken on purpose."""
    return tuple(f"{self.app_id}-{partition}-{os.getpid()}-{turn}" for turn in "ab")


if __name__ == "__main__":
    if sys.argv.pop() == "no-fencing":
        log.LogSetup.transactional_ids = unfenced  # type: ignore[method-assign]  # as a bug would
    else:
        admission.PartitionLog = AnswerFirst  # type: ignore[attr-defined]  # as a bug would
    main()
