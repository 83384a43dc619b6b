"""The stage's handler: from a transcript or a text to a summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from millrace.contracts.events import Event, ShareCreated, ShareEvent, SummaryReady, TranscriptReady
from millrace.errors import Poison, Skipped
from millrace.ids import content_hash
from millrace.models.choice import Models
from millrace.money import ZERO, MicroUSD
from millrace.stream.stage import MODEL_OPTION, Finished, Paid, Plan, Run
from services.summarize_agent.domain import Answer, Source, SummarizeResult, skip_reason
from services.summarize_agent.ports import Summarizer


class SummarizeHandler:
    """Summarises transcripts and text shares; implements `StageHandler`.

    :param most_characters: longer texts are skipped.
    :param others: makes the summarizers of models that commands name; None where there is only the one.
    """

    result_type = SummarizeResult

    def __init__(
        self,
        *,
        summarizer: Summarizer,
        most_characters: int,
        others: Callable[[str], Summarizer] | None = None,
    ) -> None:
        self._summarizers = Models(summarizer.model, summarizer, others)
        self._most_characters = most_characters

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan | None:
        """Transcripts and texts; shared media comes back as its transcript."""
        if not isinstance(event, TranscriptReady | ShareCreated):
            return None
        if isinstance(event, ShareCreated) and event.source_kind != "text":
            return None
        summarizer = self._summarizers.of(options.get(MODEL_OPTION))
        parameters: dict[str, str | int | float | bool] = {
            "source": _source(event),
            "language": _language(event) or "",
            "backend": summarizer.backend,
            "version": summarizer.version,
            "most_characters": self._most_characters,
            # Media without words for different reasons must not share one result.
            "skipped": event.skipped_reason or "" if isinstance(event, TranscriptReady) else "",
        }
        local = summarizer.backend != "api"
        return Plan(event, content_hash(_text(event)), summarizer.model, parameters, local)

    def most(self, plan: Plan) -> MicroUSD:
        """What one call about the text is held for."""
        event = plan.event
        if isinstance(event, TranscriptReady) and event.skipped_reason:
            return ZERO
        text = _text(event)
        if skip_reason(text, most_characters=self._most_characters):
            return ZERO
        return self._summarizers.of(plan.model).most(text)

    async def work(self, plan: Plan, run: Run) -> SummarizeResult:
        """Look at the text first, then ask, and once more if the answer has not the form that was asked for."""
        event = plan.event
        if isinstance(event, TranscriptReady) and event.skipped_reason:
            raise Skipped(event.skipped_reason)
        text = _text(event)
        if reason := skip_reason(text, most_characters=self._most_characters):
            raise Skipped(reason)
        summarizer = self._summarizers.of(plan.model)
        tokens_in = tokens_out = 0
        for call_no in range(summarizer.tries):
            answer = await self._ask(plan, run, call_no, text, _language(event))
            tokens_in, tokens_out = tokens_in + answer.tokens_in, tokens_out + answer.tokens_out
            if answer.summary is not None:
                return SummarizeResult(
                    source=_source(event),
                    **dict(answer.summary),
                    language=_language(event),
                    backend=summarizer.backend,
                    model=summarizer.model,
                    tokens_in=tokens_in,
                    tokens_out=tokens_out,
                )
        raise Poison(f"{summarizer.model} did not answer in the form of a summary, {call_no + 1} times")

    def skipped(self, plan: Plan, reason: str) -> SummarizeResult:
        """No summary, and the reason."""
        return SummarizeResult(
            skipped_reason=reason,
            source=_source(plan.event),
            language=_language(plan.event),
            backend=self._summarizers.of(plan.model).backend,
            model=plan.model,
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
        summarizer = self._summarizers.of(plan.model)

        async def do() -> Paid[Answer]:
            return await summarizer.summarize(text, language)

        hold = summarizer.most(text)
        return await run.call(call_no, Answer, model=summarizer.model, hold=hold, do=do, local=plan.local)


def _text(event: ShareEvent) -> str:
    if isinstance(event, TranscriptReady | ShareCreated):
        return event.text or ""
    raise Poison(f"{type(event).__name__} has no text that could be summarised")


def _source(event: ShareEvent) -> Source:
    return "transcript" if isinstance(event, TranscriptReady) else "text"


def _language(event: ShareEvent) -> str | None:
    return event.language if isinstance(event, TranscriptReady | ShareCreated) else None
