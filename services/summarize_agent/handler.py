"""The stage's handler: from a transcript or a text to a summary."""

from __future__ import annotations

from collections.abc import Mapping

from millrace.contracts.events import Event, ShareCreated, SummaryReady, TranscriptReady
from millrace.errors import Poison, Skipped
from millrace.ids import content_hash
from millrace.models.choice import Models
from millrace.models.port import Paid
from millrace.money import ZERO, MicroUSD
from millrace.stream.stage import MODEL_OPTION, Plan, Run, StageHandler
from services.summarize_agent.domain import Answer, Source, SummarizeResult, skip_reason
from services.summarize_agent.ports import Summarizer

Text = TranscriptReady | ShareCreated
"""What has text."""


class SummarizeHandler(StageHandler[Text, SummarizeResult]):
    """Summarises transcripts and text shares.

    :param most_characters: longer texts are skipped.
    """

    result_type = SummarizeResult
    event_type = SummaryReady

    def __init__(self, summarizers: Models[Summarizer], *, most_characters: int) -> None:
        self._summarizers = summarizers
        self._most_characters = most_characters

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan[Text] | None:
        """Transcripts and texts; shared media comes back as its transcript."""
        if not isinstance(event, Text):
            return None
        if isinstance(event, ShareCreated) and event.source_kind != "text":
            return None
        summarizer = self._summarizers.of(options.get(MODEL_OPTION))
        parameters: dict[str, str | int | float | bool] = {
            "source": _source(event),
            "language": event.language or "",
            "backend": summarizer.backend,
            "version": summarizer.version,
            "most_characters": self._most_characters,
            # Media without words for different reasons must not share one result.
            "skipped": event.skipped_reason or "" if isinstance(event, TranscriptReady) else "",
        }
        local = summarizer.backend != "api"
        return Plan(event, content_hash(event.text or ""), summarizer.model, parameters, local)

    def most(self, plan: Plan[Text]) -> MicroUSD:
        """What one call about the text is held for."""
        event = plan.event
        if isinstance(event, TranscriptReady) and event.skipped_reason:
            return ZERO
        text = event.text or ""
        if skip_reason(text, most_characters=self._most_characters):
            return ZERO
        return self._summarizers.of(plan.model).most(text)

    async def work(self, plan: Plan[Text], run: Run) -> SummarizeResult:
        """Look at the text first, then ask, and once more if the answer has not the form that was asked for."""
        event = plan.event
        if isinstance(event, TranscriptReady) and event.skipped_reason:
            raise Skipped(event.skipped_reason)
        text = event.text or ""
        if reason := skip_reason(text, most_characters=self._most_characters):
            raise Skipped(reason)
        summarizer = self._summarizers.of(plan.model)
        tokens_in = tokens_out = 0
        for call_no in range(summarizer.tries):
            answer = await self._ask(plan, run, call_no, text, event.language)
            tokens_in, tokens_out = tokens_in + answer.tokens_in, tokens_out + answer.tokens_out
            if answer.summary is not None:
                return SummarizeResult(
                    source=_source(event),
                    **dict(answer.summary),
                    language=event.language,
                    backend=summarizer.backend,
                    model=summarizer.model,
                    tokens_in=tokens_in,
                    tokens_out=tokens_out,
                )
        raise Poison(f"{summarizer.model} did not answer in the form of a summary, {call_no + 1} times")

    def skipped(self, plan: Plan[Text], reason: str) -> SummarizeResult:
        """No summary, and the reason."""
        return SummarizeResult(
            skipped_reason=reason,
            source=_source(plan.event),
            language=plan.event.language,
            backend=self._summarizers.of(plan.model).backend,
            model=plan.model,
        )

    async def _ask(self, plan: Plan[Text], run: Run, call_no: int, text: str, language: str | None) -> Answer:
        summarizer = self._summarizers.of(plan.model)

        async def do() -> Paid[Answer]:
            return await summarizer.summarize(text, language)

        hold = summarizer.most(text)
        return await run.call(call_no, Answer, model=summarizer.model, hold=hold, do=do, local=plan.local)


def _source(event: Text) -> Source:
    return "transcript" if isinstance(event, TranscriptReady) else "text"
