"""What the jobs of one worker have in common: their stage, and the parts that they are worked on with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Generic

from millrace.clock import Clock
from millrace.ledger.port import Ledger
from millrace.store.calls import CallStore
from millrace.store.cancel import CancelStore
from millrace.store.jobs import JobStore
from millrace.store.waiting import WaitingStore
from millrace.store.work import WorkStore
from millrace.stream.cancel import Stops
from millrace.stream.dead_breaker import JobObserver
from millrace.stream.gates import Gates
from millrace.stream.reader import Reader
from millrace.stream.stage import E, R, StageHandler, StageSpec
from millrace.stream.statuses import Statuses
from millrace.stream.writer import Writer


@dataclass(frozen=True)
class Stores:
    """The tables behind the core, the gates, and how long a lease on work lasts."""

    work: WorkStore
    calls: CallStore
    jobs: JobStore
    gates: Gates
    waiting: WaitingStore
    cancel: CancelStore
    lease: timedelta


@dataclass(frozen=True)
class Core(Generic[E, R]):
    """The parts of one worker. `hands_over`: what needs a local model is left to workers that have one."""

    spec: StageSpec
    handler: StageHandler[E, R]
    stores: Stores
    ledger: Ledger
    reader: Reader
    writer: Writer
    statuses: Statuses
    clock: Clock
    observer: JobObserver
    stops: Stops
    hands_over: bool = False
