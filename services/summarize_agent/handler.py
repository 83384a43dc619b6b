"""The stage's handler: from a transcript or a text to a summary."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from millrace.contracts.events import Event, ShareCreated, SummaryReady, TranscriptReady
from millrace.errors import Skipped
from millrace.ids import content_hash
from millrace.language import detect_language, well_formed
from millrace.models.choice import Models, asked_for
from millrace.models.outcomes import byte_count
from millrace.money import ZERO, MicroUSD
from millrace.stream.stage import BACKEND_OPTION, MODEL_OPTION, Plan, Run, StageHandler
from services.summarize_agent.complexity import Complexity, complexity_of
from services.summarize_agent.domain import Source, SummarizeResult, skip_reason
from services.summarize_agent.map_reduce import MapReduce
from services.summarize_agent.metadata import metadata_of
from services.summarize_agent.parts import Limits, SplitSentences
from services.summarize_agent.ports import Summarizer

Text = TranscriptReady | ShareCreated
"""What has text."""


class SummarizeHandler(StageHandler[Text, SummarizeResult]):
    """Summarises transcripts and text shares.

    :param limits: longer texts are summarised in parts, or left out.
    :param choice: models for texts of some kinds, where a command names none.
    :param split: splits a text into sentences.
    :param most_characters: longer texts are skipped.
    """

    result_type = SummarizeResult
    event_type = SummaryReady

    def __init__(
        self,
        summarizers: Models[Summarizer],
        *,
        limits: Limits,
        choice: Mapping[Complexity, str],
        split: SplitSentences,
        most_characters: int,
    ) -> None:
        self._summarizers = summarizers
        self._limits = limits
        self._choice = choice
        self._split = split
        self._most_characters = most_characters

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan[Text] | None:
        """Transcripts and texts; shared media comes back as its transcript."""
        if not isinstance(event, Text):
            return None
        if isinstance(event, ShareCreated) and event.source_kind != "text":
            return None
        summarizer = asked_for(
            self._summarizers, options.get(MODEL_OPTION), options.get(BACKEND_OPTION), self._chosen(event)
        )
        parameters: dict[str, str | int | float | bool] = {
            "source": _source(event),
            "language": event.language or "",
            "backend": summarizer.backend,
            "version": summarizer.version,
            "most_characters": self._most_characters,
            # Media without words for different reasons must not share one result.
            "skipped": event.skipped_reason or "" if isinstance(event, TranscriptReady) else "",
        }
        # No text has more tokens than this: what is surely not cut is the same work however others are.
        if not summarizer.reads_all and byte_count((event.text or "").strip()) > self._limits.part_tokens:
            parameters |= {"part_tokens": self._limits.part_tokens, "most_parts": self._limits.most_parts}
        local = summarizer.backend != "api"
        return Plan(event, content_hash(event.text or ""), summarizer.model, parameters, local)

    def most(self, plan: Plan[Text]) -> MicroUSD:
        """The most that all calls about the text can cost."""
        event = plan.event
        if self._skip_reason(event):
            return ZERO
        return self._map_reduce(plan, _language(event)).most(event.text or "")

    async def work(self, plan: Plan[Text], run: Run) -> SummarizeResult:
        """Look at the text first, then ask."""
        event = plan.event
        if reason := self._skip_reason(event):
            raise Skipped(reason)
        text = event.text or ""
        language = await asyncio.to_thread(_language, event)
        metadata = await asyncio.to_thread(metadata_of, text)
        found = await self._map_reduce(plan, language).summarise(run, text)
        return SummarizeResult(
            source=_source(event),
            **dict(found.summary),
            **dict(metadata),
            language=language,
            backend=self._summarizers.of(plan.model).backend,
            model=plan.model,
            tokens_in=found.tokens_in,
            tokens_out=found.tokens_out,
            truncated=found.truncated,
            parts=found.parts,
        )

    def skipped(self, plan: Plan[Text], reason: str) -> SummarizeResult:
        """No summary, and the reason."""
        return SummarizeResult(
            skipped_reason=reason,
            source=_source(plan.event),
            language=plan.event.language,
            backend=self._summarizers.of(plan.model).backend,
            model=plan.model,
        )

    def _chosen(self, event: Text) -> str | None:
        """The model for such a text, None for the usual one."""
        if not self._choice or self._skip_reason(event):
            return None
        return self._choice.get(complexity_of(event.text or ""))

    def _skip_reason(self, event: Text) -> str | None:
        if isinstance(event, TranscriptReady) and event.skipped_reason:
            return event.skipped_reason
        return skip_reason(event.text or "", most_characters=self._most_characters)

    def _map_reduce(self, plan: Plan[Text], language: str | None) -> MapReduce:
        return MapReduce(self._summarizers.of(plan.model), self._limits, self._split, language=language)


def _source(event: Text) -> Source:
    return "transcript" if isinstance(event, TranscriptReady) else "text"


def _language(event: Text) -> str | None:
    """As the event says, or as the text looks."""
    return well_formed(event.language) or detect_language(event.text or "")
