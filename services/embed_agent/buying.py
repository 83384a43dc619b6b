"""Buys the vectors of a share's texts, in one call with those that other shares wait for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace.clock import Clock
from millrace.contracts.events import ShareEvent
from millrace.errors import Deferred, Denied, Paused, Poison, Retryable, UnknownOutcome
from millrace.models.port import EmbeddingModel, Paid
from millrace.stream.stage import Plan, Run
from services.embed_agent import metrics
from services.embed_agent.batches import Batch, calls_of, packed
from services.embed_agent.domain import Chunk
from services.embed_agent.ports import Abandoned, Later, PendingTexts, Together, VectorStore, Want
from services.embed_agent.together import Patience, PendingText, Times, parts_of

AnyPlan = Plan[ShareEvent]


@dataclass(frozen=True)
class Bought:
    """Length of the vectors, and the tokens that were bought for the work."""

    dimensions: int
    tokens: int


class Buyer:
    """Buys for the jobs of an agent. An API's model is asked for many shares at once; a local one gains nothing."""

    def __init__(self, store: VectorStore, pending: PendingTexts, patience: Patience, clock: Clock) -> None:
        self._store = store
        self._pending = pending
        self._patience = patience
        self._clock = clock

    async def buy(self, plan: AnyPlan, run: Run, model: EmbeddingModel, texts: Mapping[str, Chunk]) -> Bought:
        """See to it that the model's vectors of all texts, by their content hash, are kept.

        :raises Deferred: they come with the texts of others.
        """
        purchase = _Purchase(self._store, self._pending, plan=plan, run=run, model=model)
        tokens = sum(chunk.tokens for chunk in texts.values())
        times = self._patience.times(tokens, self._clock.now(), in_bulk=run.in_bulk)
        while missing := await purchase.missing(texts):
            if model.backend == "local":
                (call, *_) = calls_of(missing, texts=model.batch_size, tokens=model.batch_tokens)
                await purchase.local_call(call)
            else:
                await purchase.next_call(missing, times)
            await run.progress(1 - len(missing) / len(texts))
        return await purchase.bought()


class _Purchase:
    """The calls of one piece of work, in their order."""

    def __init__(
        self, store: VectorStore, pending: PendingTexts, *, plan: AnyPlan, run: Run, model: EmbeddingModel
    ) -> None:
        self._store = store
        self._pending = pending
        self._plan = plan
        self._run = run
        self._model = model
        self._key = plan.work_key("embed")
        self._call_no = 0
        self._alone = run.is_probe
        self._made: dict[str, int] = {}
        self._known: Mapping[str, int] = {}
        self._tokens = 0

    async def missing(self, texts: Mapping[str, Chunk]) -> list[Chunk]:
        """Texts without a vector; work that somebody wants done again buys its vectors again."""
        again = self._key if self._plan.generation else None
        self._known = await self._store.known(self._model.name, list(texts), bought_for=again)
        return [chunk for name, chunk in texts.items() if name not in self._known and name not in self._made]

    async def local_call(self, chunks: Sequence[Chunk]) -> None:
        """A call for this work alone."""
        event = self._plan.event
        own = [PendingText(self._key, event.share_id, one.content_hash, one.text, one.tokens) for one in chunks]
        batch = await self._call(own, shared=False)
        await self._store.keep(self._model.name, batch)
        # An answer that an earlier attempt has paid for may be about other texts: what is known has changed since.
        self._made |= dict.fromkeys(batch.hashes, batch.dimensions)
        self._tokens += batch.tokens

    async def next_call(self, missing: Sequence[Chunk], times: Times) -> None:
        """What there is to do next for texts that others may want, too.

        :raises Deferred: to wait.
        """
        match await self._pending.next(self._want(missing, times)):
            case Later(why=why, wait=wait):
                share_id = self._plan.event.share_id
                # They may have come before it is written down that somebody waits.
                raise Deferred(why, wait, look=lambda: self._pending.wake(self._key, share_id))
            case Abandoned(work_key=work, paid=paid):
                for call_no, batch in paid:
                    await self._pending.bought(work, call_no, self._model.name, batch)
                await self._pending.release(work)
            case Together(texts=texts) if texts:
                await self._shared_call(texts)

    async def bought(self) -> Bought:
        """What has come of it."""
        tokens = self._tokens + await self._pending.tokens_of(self._key)
        return Bought(next(iter([*self._known.values(), *self._made.values()])), tokens)

    def _want(self, missing: Sequence[Chunk], times: Times) -> Want:
        event, model = self._plan.event, self._model
        return Want(
            work_key=self._key,
            share_id=event.share_id,
            account=event.account,
            model=model.name,
            missing=missing,
            times=times,
            most_texts=model.batch_size,
            most_tokens=model.batch_tokens,
            again=bool(self._plan.generation),
            alone=self._alone,
        )

    async def _shared_call(self, texts: Sequence[PendingText]) -> None:
        """A call for all of them. Where it is refused, each tries for itself: this one at once."""
        try:
            batch = await self._call(texts, shared=True)
        except (Denied, Poison) as exc:
            is_last = self._alone or all(text.work_key == self._key for text in texts)
            await self._pending.release(self._key, alone=is_last or isinstance(exc, Poison))
            if is_last:
                raise
            self._alone = True
        except Paused:
            await self._pending.release(self._key)
            raise
        except (Retryable, UnknownOutcome) as exc:
            if isinstance(exc, UnknownOutcome) and exc.paused is not None:
                await self._pending.release(self._key)
            else:
                await self._pending.failed(self._key)
            raise
        else:
            await self._pending.bought(self._key, self._call_no - 1, self._model.name, batch)

    async def _call(self, texts: Sequence[PendingText], *, shared: bool) -> Batch:
        model = self._model

        async def do() -> Paid[Batch]:
            metrics.BATCH_TEXTS.labels(model.name).observe(len(texts))
            with metrics.EMBEDDING_SECONDS.labels(model.name).time():
                embedded = await model.embed([text.text for text in texts])
            cost = model.tariff.cost(embedded.use)
            parts = parts_of(texts, embedded.use.tokens_in, cost) if shared else []
            metrics.EMBEDDINGS.labels(model.name).inc(len(embedded.vectors))
            return Paid(packed(embedded, [text.content_hash for text in texts], parts), cost, embedded.use)

        hold = model.tariff.most(sum(text.tokens for text in texts))
        batch = await self._run.call(self._call_no, Batch, model=model.name, hold=hold, do=do, local=self._plan.local)
        self._call_no += 1
        return batch
