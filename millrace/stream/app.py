"""A stage as a Faust application: its life cycle. `connect.py` has the parts.

`open` happens before Faust starts, so that what is missing ends the process with one sentence and nothing was read.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Generic, cast

import faust
from faust.types import TP

import millrace
from millrace.clock import SystemClock
from millrace.kafka.records import Partition
from millrace.settings import StageSettings, WorksOn
from millrace.startup import EXIT_CRASHED
from millrace.stream.connect import OpenHandler, Parts, Task, connect
from millrace.stream.faust_app import FaustApp, broker, faust_settings
from millrace.stream.health import unready
from millrace.stream.pool import JobPool
from millrace.stream.ports import Stream
from millrace.stream.stage import E, R, StageSpec
from millrace.stream.worker import StageWorker
from millrace.telemetry import metrics

log = logging.getLogger(__name__)


class StageApp(FaustApp, Generic[E, R]):
    """Faust application of one stage, or of the part of it that `works_on` names."""

    def __init__(
        self, spec: StageSpec, settings: StageSettings, open_handler: OpenHandler[E, R], *, works_on: WorksOn = "both"
    ) -> None:
        spec = replace(spec, local=works_on == "local")
        self.spec = spec = spec.limited(soft_s=settings.soft_limit_s, hard_s=settings.hard_limit_s)
        self._hands_over = works_on == "api"
        super().__init__(
            spec.group,
            **broker(settings.cluster),
            Worker=StageWorker,
            consumer_group_instance_id=settings.instance,
            **faust_settings(spec.hard_limit),
        )
        self.settings = settings
        self.known_as = f"{spec.name}_agent"
        self._open_handler = open_handler
        self._clock = SystemClock()
        self._open = AsyncExitStack()
        self._parts: Parts | None = None
        self._assigned = False
        metrics.WORKER.labels(spec.name, millrace.__version__, works_on).set(1)
        metrics.begin(spec.name)
        for name in spec.topics:
            topic = self.topic(
                name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", allow_empty=True
            )
            self.agent(topic, name=f"{spec.name}:{name}")(self._pump)
        self.on_partitions_assigned.connect(self._on_assigned, weak=False)
        self.on_partitions_revoked.connect(self._on_revoked, weak=False)

    async def open(self) -> None:
        """Check and connect everything that the stage needs.

        :raises ConfigurationError: a topic or a schema is missing.
        :raises Unavailable: a part does not answer.
        """
        try:
            self._parts = await connect(
                self._open,
                self,
                self.spec,
                self.settings,
                self._open_handler,
                hands_over=self._hands_over,
                unready=self.unready,
            )
        except BaseException:
            await self._open.aclose()
            raise

    @property
    def parts(self) -> Parts:
        """What it runs on; only after `open`."""
        if self._parts is None:
            raise RuntimeError("the stage is not open")
        return self._parts

    @property
    def jobs(self) -> JobPool:
        """The pool; only after `open`."""
        return self.parts.jobs

    async def _pump(self, stream: faust.StreamT[bytes]) -> None:
        await self.jobs.pump(cast(Stream, stream))

    async def on_first_start(self) -> None:
        """Faust would make folders for its tables here; a stage has none."""

    async def on_started(self) -> None:
        """Start the mover and the watch once Faust runs."""
        await super().on_started()
        for task in self.parts.background:
            self.add_future(self._vital(task))

    async def _vital(self, task: Task) -> None:
        """A background task that ends with an error takes the process with it: the supervisor starts it anew."""
        try:
            await task()
        except Exception:
            log.critical("a background task of the %s stage failed; stopping", self.spec.name, exc_info=True)
            os._exit(EXIT_CRASHED)

    async def _on_assigned(self, *_: object, **__: object) -> None:
        self._assigned = True

    async def _on_revoked(self, *sent: Any, **_: object) -> None:  # noqa: ANN401 - a signal of Faust
        revoked: Iterable[TP] = sent[1]  # sent by Faust as (app, revoked)
        if self._parts is not None:
            self._parts.jobs.revoke(Partition(tp.topic, tp.partition) for tp in revoked)

    def unready(self) -> str | None:
        """Why the stage is not ready, or None."""
        if self._parts is None:
            return "starting"
        return self._parts.breaker.closed() or unready(
            self.spec,
            self._clock.now(),
            assigned=self._assigned,
            flowing=bool(self.flow_control.is_active()),
            oldest_start=self._parts.jobs.oldest_start(),
            standstill=self._parts.watch.standstill(),
        )

    async def drain(self) -> None:
        """Take nothing more, let running jobs end for a while, give the rest back."""
        if self._parts is not None:
            left = await self._parts.jobs.drain(self.settings.drain_s)
            log.info("%s: stopping; %d unfinished jobs are given back", self.spec.name, left)

    async def on_stop(self) -> None:
        """Stop Faust's parts, then ours."""
        await super().on_stop()
        await self._open.aclose()
