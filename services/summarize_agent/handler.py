"""The stage's handler: from a transcript or a text to a summary."""

from __future__ import annotations

from collections.abc import Mapping

from millrace.contracts.events import Event, ShareCreated, ShareEvent, SummaryReady, TranscriptReady
from millrace.errors import Poison, Skipped
from millrace.ids import content_hash
from millrace.stream.stage import Finished, Paid, Plan, Run
from services.summarize_agent.domain import Answer, Source, SummarizeResult, skip_reason
from services.summarize_agent.ports import Summarizer


class SummarizeHandler:
    """Summarises transcripts and text shares; implements `StageHandler`.

    :param most_characters: longer texts are skipped.
    """

    result_type = SummarizeResult

    def __init__(self, *, summarizer: Summarizer, most_characters: int) -> None:
        self._summarizer = summarizer
        self._most_characters = most_characters

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan | None:  # noqa: ARG002 - no options yet
        """Transcripts and texts; shared media comes back as its transcript."""
        if not isinstance(event, TranscriptReady | ShareCreated):
            return None
        if isinstance(event, ShareCreated) and event.source_kind != "text":
            return None
        parameters: dict[str, str | int | float | bool] = {
            "source": _source(event),
            "language": _language(event) or "",
            "backend": self._summarizer.backend,
            "version": self._summarizer.version,
            "most_characters": self._most_characters,
            # Media without words for different reasons must not share one result.
            "skipped": event.skipped_reason or "" if isinstance(event, TranscriptReady) else "",
        }
        return Plan(
            event, content_hash(_text(event)), self._summarizer.model, parameters, self._summarizer.backend != "api"
        )

    async def work(self, plan: Plan, run: Run) -> SummarizeResult:
        """Look at the text first, then ask, and once more if the answer has not the form that was asked for."""
        event = plan.event
        if isinstance(event, TranscriptReady) and event.skipped_reason:
            raise Skipped(event.skipped_reason)
        text = _text(event)
        if reason := skip_reason(text, most_characters=self._most_characters):
            raise Skipped(reason)
        tokens_in = tokens_out = 0
        for call_no in range(self._summarizer.tries):
            answer = await self._ask(plan, run, call_no, text, _language(event))
            tokens_in, tokens_out = tokens_in + answer.tokens_in, tokens_out + answer.tokens_out
            if answer.summary is not None:
                return SummarizeResult(
                    source=_source(event),
                    **dict(answer.summary),
                    language=_language(event),
                    backend=self._summarizer.backend,
                    model=self._summarizer.model,
                    tokens_in=tokens_in,
                    tokens_out=tokens_out,
                )
        raise Poison(f"{self._summarizer.model} did not answer in the form of a summary, {call_no + 1} times")

    def skipped(self, plan: Plan, reason: str) -> SummarizeResult:
        """No summary, and the reason."""
        return SummarizeResult(
            skipped_reason=reason,
            source=_source(plan.event),
            language=_language(plan.event),
            backend=self._summarizer.backend,
            model=self._summarizer.model,
        )

    def event(self, plan: Plan, done: Finished[SummarizeResult]) -> ShareEvent:
        """`SummaryReady` for the share."""
        return SummaryReady(
            share_id=plan.event.share_id,
            account=plan.event.account,
            cost_micro_usd=done.cost,
            work_key=done.work_key,
            produced_at=done.finished_at,
            **dict(done.result),
        )

    async def _ask(self, plan: Plan, run: Run, call_no: int, text: str, language: str | None) -> Answer:
        async def do() -> Paid[Answer]:
            return await self._summarizer.summarize(text, language)

        hold = self._summarizer.most(text)
        model = self._summarizer.model
        return await run.call(call_no, Answer, model=model, hold=hold, do=do, local=plan.local)


def _text(event: ShareEvent) -> str:
    if isinstance(event, TranscriptReady | ShareCreated):
        return event.text or ""
    raise Poison(f"{type(event).__name__} has no text that could be summarised")


def _source(event: ShareEvent) -> Source:
    return "transcript" if isinstance(event, TranscriptReady) else "text"


def _language(event: ShareEvent) -> str | None:
    return event.language if isinstance(event, TranscriptReady | ShareCreated) else None
