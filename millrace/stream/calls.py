"""Paid calls of one piece of work: granted first, kept when answered, told to the ledger, never made twice.

What if the process dies at an `await`? Each state below is written before the step that it names, so the next owner
of the work finds out how far it came, and `Calls.recover` finishes the story.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

from opentelemetry.trace import SpanKind
from pydantic import BaseModel, JsonValue, ValidationError

from millrace.errors import Cancelled, Denied, Paused, Poison, Refusal, Retryable, Unavailable, UnknownOutcome
from millrace.ids import RequestId, WorkKey
from millrace.ledger.port import Ledger
from millrace.models.port import Paid, Use
from millrace.money import MicroUSD
from millrace.store.calls import CallState, CallStore
from millrace.store.work import Fence
from millrace.stream.gates import refusal_sentence
from millrace.stream.recovery import Recovery
from millrace.telemetry import metrics
from millrace.tracing.spans import span

log = logging.getLogger(__name__)
A = TypeVar("A", bound=BaseModel)

MAX_CALLS = 3
"""Attempts at one call that may reach the provider, over all restarts and all jobs that need it (feature A9).

A redrive, a replay or a request of a person begins a round with as many anew (`JobStore.begin_anew`)."""


def _kept(kind: type[A], answer: JsonValue) -> A:
    try:
        return kind.model_validate(answer)
    except ValidationError:  # not `from exc`: it quotes the answer
        raise Poison("the answer that was kept is one of another version: replay the share with --force") from None


class LeaseLost(Exception):
    """A newer owner has taken the work over before this call was made."""


async def _to_the_end(work: Coroutine[None, None, None]) -> None:
    """What is known is kept: a cancellation meanwhile takes effect when that is done."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


@dataclass(frozen=True)
class Payer:
    """Who pays for a job's calls, and for what."""

    account: str
    scope: str
    share_id: str
    work_key: WorkKey
    hold_for: timedelta


class CallGate(Protocol):
    """What a job asks before it asks or calls somebody else; `millrace.stream.gates.Passage` answers."""

    def may_call(self, model: str) -> None:
        """:raises Paused: the model is left alone for a while."""
        ...

    def may_ask(self, hold: MicroUSD) -> None:
        """:raises Denied: the ledger would refuse."""
        ...

    async def granted(self) -> None:
        """The ledger has granted money."""
        ...

    async def answered(self, model: str) -> None:
        """The model works."""
        ...

    def failed(self, model: str, reason: str, retry_after_s: float | None) -> Paused | None:
        """The model failed; what that means for everybody."""
        ...


class OpenGate:
    """No gates at all."""

    def may_call(self, model: str) -> None:
        """Yes."""

    def may_ask(self, hold: MicroUSD) -> None:
        """Yes."""

    async def granted(self) -> None:
        """Nobody waits for it."""

    async def answered(self, model: str) -> None:
        """Nobody waits for it."""

    def failed(self, model: str, reason: str, retry_after_s: float | None) -> Paused | None:  # noqa: ARG002
        """It is this job's own affair."""
        return None


class Calls:
    """Makes the calls of one piece of work on behalf of one job.

    :param fence: that of the lease on the work; without one, nothing can be called, only recovered.
    :param first: nobody has written down a call for this work before.
    """

    def __init__(
        self,
        store: CallStore,
        ledger: Ledger,
        payer: Payer,
        fence: Fence | None = None,
        *,
        first: bool = False,
        gate: CallGate | None = None,
    ) -> None:
        self._gate = gate or OpenGate()
        self._store = store
        self._ledger = ledger
        self._recovery = Recovery(store, ledger)
        self._payer = payer
        self._fence = fence
        self._first = first
        self._begun: set[int] = set()
        self._telling: dict[RequestId, asyncio.Task[None]] = {}

    async def recover(self) -> None:
        """Finish what an earlier owner, or a try that has ended, left open. Never beside a call in flight."""
        if self._first and not self._begun:
            return
        # What is on its way to the ledger need not be told again; a message that failed is found below.
        await self.note_told()
        await self._recovery.of_work(self._payer.work_key)

    async def note_told(self) -> None:
        """Write down which answered calls the ledger has heard of, where `all_told` has no end to be written with."""
        if self._telling:
            await asyncio.wait(self._telling.values())
        for request, task in list(self._telling.items()):
            if not task.cancelled() and task.exception() is None:
                await self._store.told(request, "answered")

    async def call(
        self,
        call_no: int,
        answer_type: type[A],
        *,
        model: str,
        hold: MicroUSD,
        do: Callable[[], Awaitable[Paid[A]]],
        local: bool = False,
    ) -> A:
        """See `millrace.stream.stage.Run.call`."""
        # Whoever had the lease before cannot write down a call any more: `begin` looks at the fence.
        is_new = self._first and call_no not in self._begun
        self._begun.add(call_no)
        earlier = [] if is_new else await self._store.of_work(self._payer.work_key, call_no)
        for row in earlier:
            if row.state in ("answered", "settled"):
                if not row.told_ledger:
                    await self._recovery.tell(row, row.state)
                if row.answer is not None:  # else it was deleted with the share that had it, and is bought anew
                    return _kept(answer_type, row.answer)
        counted = [row for row in earlier if row.was_called and row.counted]
        if len(counted) >= MAX_CALLS:
            last = f"; at last: {counted[-1].reason}" if counted[-1].reason else ""
            raise Poison(f"the model was called {len(counted)} times without an answer that could be kept{last}")
        self._gate.may_call(model)
        self._gate.may_ask(hold)
        attempt = max((row.attempt for row in earlier), default=0) + 1
        about: dict[str, str | int] = {"gen_ai.request.model": model, "millrace.hold_micro_usd": hold}
        with span("hold", kind=SpanKind.CLIENT, attributes=about):
            request = await self._hold(call_no, attempt, model, hold)
        with span(f"call {model}", kind=SpanKind.CLIENT, attributes=about):
            return await self._make(request, model, do, local=local)

    async def _hold(self, call_no: int, attempt: int, model: str, hold: MicroUSD) -> RequestId:
        payer = self._payer
        if self._fence is None:
            raise LeaseLost
        request = await self._store.begin(
            payer.work_key,
            call_no,
            attempt,
            account=payer.account,
            scope=payer.scope,
            share_id=payer.share_id,
            model=model,
            hold=hold,
            fence=self._fence,
        )
        if request is None:
            raise LeaseLost
        try:
            answer = await self._ledger.reserve(
                request,
                account=payer.account,
                scope=payer.scope,
                amount=hold,
                hold_for=payer.hold_for,
                share_id=payer.share_id,
                model=model,
                work_key=payer.work_key,
            )
        except (Unavailable, Poison) as exc:
            await self._store.move(request, "reserving", "abandoned", str(exc))
            raise
        if isinstance(answer, Refusal):
            sentence = refusal_sentence(answer)
            if not await self._store.move(request, "reserving", "denied", sentence):
                raise LeaseLost  # a new owner has closed the request, which is why it was refused
            raise Denied(answer, sentence)
        await self._gate.granted()  # before it counts as called: who dies meanwhile has paid nothing
        if not await self._store.start(request, answer.warning):
            await self._recovery.report(request, payer.account, payer.scope, "abandoned", None)
            raise LeaseLost
        return request

    async def _make(self, request: RequestId, model: str, do: Callable[[], Awaitable[Paid[A]]], *, local: bool) -> A:
        try:
            with metrics.MODEL_SECONDS.labels(self._payer.scope, model).time():
                paid = await do()
        except (Poison, Cancelled) as exc:
            await _to_the_end(self._end(request, "released", str(exc)))
            raise
        except Retryable as exc:
            paused = self._gate.failed(model, str(exc), exc.retry_after_s)
            # What fails for everybody is not held against this work.
            await _to_the_end(self._end(request, "released", str(exc), counted=paused is None))
            if paused is not None:
                raise paused from exc
            raise
        except asyncio.CancelledError:
            if local:
                await _to_the_end(self._end(request, "released", "cut off"))
            raise  # an API's stays `calling`: whoever goes on with the work declares it unconfirmed
        except Exception as exc:
            log.exception("%s: a call ended in a way that does not say whether it was billed", request)
            reason = str(exc) if isinstance(exc, UnknownOutcome) else f"{type(exc).__name__} during the call"
            await _to_the_end(self._end(request, "unconfirmed", reason))
            raise UnknownOutcome(reason, paused=self._gate.failed(model, reason, None)) from exc
        self._count(model, paid.use)
        await _to_the_end(self._keep(request, paid))
        await self._gate.answered(model)
        return paid.answer

    def _count(self, model: str, use: Use) -> None:
        stage = self._payer.scope
        for direction, tokens in (("in", use.tokens_in), ("out", use.tokens_out)):
            if tokens:
                metrics.TOKENS.labels(stage, model, direction).inc(tokens)
        if use.audio_ms:
            metrics.AUDIO_SECONDS.labels(stage, model).inc(use.audio_ms / 1000)

    async def _keep(self, request: RequestId, paid: Paid[A]) -> None:
        await self._store.answered(request, paid.answer.model_dump(mode="json"), paid.cost)
        # The ledger may hear of it while the work goes on: whoever finds the answer kept but untold tells it.
        payer = self._payer
        settle = self._ledger.settle(request, account=payer.account, scope=payer.scope, actual=paid.cost, linger=True)
        self._telling[request] = asyncio.create_task(settle)

    async def all_told(self) -> list[RequestId]:
        """Wait until the ledger has heard what all answered calls have cost: those that it was told of, which is for
        the caller to write down.

        :raises Unavailable: as `Ledger.settle`; whoever owns the work next, or finds it done, tells it then.
        """
        await asyncio.gather(*self._telling.values())
        return list(self._telling)

    async def _end(self, request: RequestId, state: CallState, reason: str, *, counted: bool = True) -> None:
        await self._store.move(request, "calling", state, reason, counted=counted)
        if state == "released":  # a successor may have called it unconfirmed; now it is known
            await self._store.move(request, "unconfirmed", state, reason, counted=counted)
        for row in await self._store.of_work(self._payer.work_key):  # what the row says is what the ledger is told
            if row.request_id == request and not row.told_ledger:
                await self._recovery.tell(row, row.state)
