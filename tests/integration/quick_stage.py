"""Stages whose model takes no time: `python -m tests.integration.quick_stage STAGE`. The rest is the product.

Each works on shared texts; a share's title says how many micro-dollars its one call holds and costs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from pydantic import BaseModel

from millrace.contracts.events import EmbeddingReady, Event, MediaReady, ShareCreated, ShareEvent, SummaryReady
from millrace.ids import content_hash
from millrace.money import MicroUSD
from millrace.settings import StageSettings
from millrace.startup import settings_or_exit
from millrace.stream.app import Resources, StageApp
from millrace.stream.stage import Finished, Paid, Plan, Run, StageHandler, StageSpec
from millrace.stream.worker import run

MODEL = "quick"


class Words(BaseModel):
    text: str


class QuickHandler:
    """Implements `StageHandler`."""

    result_type = Words

    def __init__(self, spec: StageSpec) -> None:
        self._stage = spec.name

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan | None:
        if not isinstance(event, ShareCreated) or event.text is None:
            return None
        return Plan(event, content_hash(event.text), MODEL)

    async def work(self, plan: Plan, run: Run) -> Words:
        assert isinstance(plan.event, ShareCreated)
        amount = MicroUSD(int(plan.event.title or "1"))

        async def do() -> Paid[Words]:
            return Paid(Words(text="done"), amount)

        return await run.call(0, Words, model=MODEL, hold=amount, do=do)

    def skipped(self, plan: Plan, reason: str) -> Words:
        return Words(text=reason)

    def event(self, plan: Plan, done: Finished[Words]) -> ShareEvent:
        common: dict[str, Any] = {
            "share_id": plan.event.share_id,
            "account": plan.event.account,
            "cost_micro_usd": done.cost,
            "work_key": done.work_key,
            "produced_at": done.finished_at,
        }
        match self._stage:
            case "media":
                return MediaReady(
                    **common,
                    blob_key="media/none",
                    media_url="https://media.example.org/none",
                    sha256="0" * 64,
                    size_bytes=1,
                    duration_ms=1000,
                    format="wav",
                    has_video=False,
                    has_audio=True,
                )
            case "summarize":
                return SummaryReady(**common, source="text", summary="done", backend=MODEL, model=MODEL)
            case _:
                return EmbeddingReady(
                    **common, source="text", backend=MODEL, model=MODEL, dimensions=1, chunker="none", chunk_count=0
                )


def build(stage: str, settings: StageSettings) -> StageApp[Words]:
    """The agent's application with the quick handler."""
    spec = cast(StageSpec, importlib.import_module(f"services.{stage}_agent.app").SPEC)

    @asynccontextmanager
    async def handler(_: Resources) -> AsyncIterator[StageHandler[Words]]:
        yield QuickHandler(spec)

    return StageApp(spec, settings, handler)


if __name__ == "__main__":
    run(build(sys.argv.pop(), settings_or_exit(StageSettings)))
