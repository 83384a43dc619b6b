"""A stage whose model takes no time and costs a micro-dollar: `python -m benchmarks.peers.null_stage STAGE`.

Everything but the handler is the product. The stages stand in one chain, as they do at the peers: embed reads the
summary, where the product's own reads the transcript beside it. summarize and embed read share.created too, as in
the product, and find that these shares are not for them.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from pydantic import BaseModel

from millrace.contracts.events import (
    EmbeddingReady,
    Event,
    MediaReady,
    ResultEvent,
    ShareCreated,
    ShareEvent,
    SummaryReady,
    TranscriptReady,
)
from millrace.ids import content_hash
from millrace.models.port import Paid
from millrace.money import MicroUSD
from millrace.settings import StageSettings
from millrace.startup import settings_or_exit
from millrace.stream.app import StageApp
from millrace.stream.connect import Resources
from millrace.stream.stage import Finished, Plan, Run, StageHandler, StageSpec
from millrace.stream.worker import run

MODEL = "null"
PRICE = MicroUSD(1)
READS: Mapping[str, type[ShareEvent]] = {
    "media": ShareCreated,
    "transcribe": MediaReady,
    "summarize": TranscriptReady,
    "embed": SummaryReady,
}


class Nothing(BaseModel):
    """What the model answers, and what the stage makes of it."""

    text: str = ""


class NullHandler(StageHandler[ShareEvent, Nothing]):
    """One call for each share."""

    result_type = Nothing

    def __init__(self, spec: StageSpec) -> None:
        self._stage = spec.name

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan[ShareEvent] | None:
        """No two shares have the same content."""
        del options
        if not isinstance(event, ShareEvent) or not isinstance(event, READS[self._stage]):
            return None
        return Plan(event, content_hash(event.share_id), MODEL)

    async def work(self, plan: Plan[ShareEvent], run: Run) -> Nothing:
        """One call."""
        del plan

        async def do() -> Paid[Nothing]:
            return Paid(Nothing(), PRICE)

        return await run.call(0, Nothing, model=MODEL, hold=PRICE, do=do)

    def skipped(self, plan: Plan[ShareEvent], reason: str) -> Nothing:
        """Never, here."""
        del plan
        return Nothing(text=reason)

    def event(self, plan: Plan[ShareEvent], done: Finished[Nothing]) -> ResultEvent:
        """The smallest event of the stage."""
        common: dict[str, Any] = {
            "share_id": plan.event.share_id,
            "account": plan.event.account,
            "cost_micro_usd": done.cost,
            "work_key": done.work_key,
            "produced_at": done.finished_at,
        }
        made_by: dict[str, Any] = {**common, "backend": MODEL, "model": MODEL}
        match self._stage:
            case "media":
                place = {"blob_key": "media/none", "media_url": "https://media.example.org/none", "sha256": "0" * 64}
                sound = {"duration_ms": 1000, "format": "wav", "has_video": False, "has_audio": True}
                return MediaReady.model_validate({**common, **place, **sound, "size_bytes": 1})
            case "transcribe":
                return TranscriptReady(**made_by, text="", duration_ms=1000, billed_ms=1000)
            case "summarize":
                return SummaryReady(**made_by, source="transcript", summary="")
            case _:  # embed
                return EmbeddingReady(**made_by, source="transcript", dimensions=1, chunker="none", chunk_count=0)


def build(
    stage: str, settings: StageSettings, new_handler: type[NullHandler] = NullHandler
) -> StageApp[ShareEvent, Nothing]:
    """The agent's application with the null handler, or one derived from it."""
    spec = cast(StageSpec, importlib.import_module(f"services.{stage}_agent.app").AGENT.spec)
    if stage == "embed":
        spec = dataclasses.replace(spec, inputs=("summary.ready", "share.created"))

    @asynccontextmanager
    async def handler(_: Resources) -> AsyncIterator[NullHandler]:
        yield new_handler(spec)

    return StageApp(spec, settings, handler)


if __name__ == "__main__":
    run(build(sys.argv.pop(), settings_or_exit(StageSettings)))
