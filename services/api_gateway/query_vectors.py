"""Vectors of queries: granted by the ledger, bought once, and kept while the gateway runs."""

from __future__ import annotations

import asyncio
import math
import uuid
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from millrace.errors import MillraceError, Poison, Refusal, Retryable, Unavailable
from millrace.ids import RequestId
from millrace.ledger.port import Ledger
from millrace.models.port import EmbeddingModel
from millrace.money import format_usd

SCOPE: Final = "search"
MOST_KEPT: Final = 1_000
"""Vectors that are kept: 25 MB of those with 3,072 numbers."""
_HOLD_FOR: Final = timedelta(minutes=6)  # the embedding call's own limit of one minute, and five for settling


class NoVector(MillraceError):
    """The query has no vector; the text says why."""


@dataclass(frozen=True)
class QueryVector:
    """A query's vector, and what there is to say about its price; nothing when it was there already."""

    numbers: Sequence[float]
    note: str | None = None


class _Key(NamedTuple):
    """Whoever pays has bought it for themselves: nobody's searches depend on another account's money."""

    account: str
    model: str
    query: str


def new_request_id() -> RequestId:
    """Every purchase is an effect of its own: what is not kept any more is paid for again."""
    return RequestId(f"search-{uuid.uuid4()}")


class QueryVectors:
    """Makes vectors of queries, each once for an account while it is among the last that were asked for.

    :param grant_within_s: how long the ledger is waited for, which is less than its client would.
    """

    def __init__(
        self,
        ledger: Ledger,
        request_id: Callable[[], RequestId] = new_request_id,
        *,
        grant_within_s: float = 3.0,
        most: int = MOST_KEPT,
    ) -> None:
        self._ledger = ledger
        self._request_id = request_id
        self._grant_within_s = grant_within_s
        self._most = most
        self._kept: OrderedDict[_Key, array[float]] = OrderedDict()
        self._buying: dict[_Key, asyncio.Task[QueryVector]] = {}

    async def of(self, model: EmbeddingModel, query: str, account: str) -> QueryVector:
        """The query's vector by a model; who asks for one that is being bought waits for it.

        :raises NoVector: it was not granted, or the model made none. That is not kept.
        """
        key = _Key(account, model.name, query)
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return QueryVector(list(kept))
        buying = self._buying.get(key)
        if buying is None:
            buying = self._buying[key] = asyncio.create_task(self._buy(model, query, account))
            buying.add_done_callback(lambda task: self._bought(key, task))
        # Whoever goes away leaves the purchase to those who wait for it, too.
        return await asyncio.shield(buying)

    def _bought(self, key: _Key, task: asyncio.Task[QueryVector]) -> None:
        del self._buying[key]
        if task.cancelled() or task.exception() is not None:
            return
        self._kept[key] = array("d", task.result().numbers)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    async def _buy(self, model: EmbeddingModel, query: str, account: str) -> QueryVector:
        try:
            async with asyncio.timeout(self._grant_within_s):  # cancelled, the client lets go of the hold
                decision = await self._ledger.reserve(
                    self._request_id(),
                    account=account,
                    scope=SCOPE,
                    amount=model.tariff.most(model.count_tokens(query)),
                    hold_for=_HOLD_FOR,
                    model=model.name,
                )
        except (Unavailable, TimeoutError) as exc:
            raise NoVector("The cost ledger does not answer, so the query's embedding was not granted.") from exc
        if isinstance(decision, Refusal):
            raise NoVector(_why(decision))
        try:
            async with decision as hold:
                embedded = await model.embed([query])
                hold.settle(model.tariff.cost(embedded.use))
        except (Retryable, Poison) as exc:
            raise NoVector(f"The embedding model does not work: {_clause(exc)}.") from exc
        except MillraceError as exc:
            raise NoVector(f"The embedding model did not answer: {_clause(exc)}.") from exc
        vector = embedded.vectors[0]
        if not any(vector) or not all(map(math.isfinite, vector)):
            raise NoVector("The query means nothing to the embedding model.")
        warned = decision.warning
        return QueryVector(vector, None if warned is None else f"The query's embedding is {warned}.")


def _clause(error: MillraceError) -> str:
    return str(error).rstrip(".")


def _why(refusal: Refusal) -> str:
    window, _, scope = refusal.cap.partition(":")
    when = "" if refusal.room_at is None else f" (room again at {refusal.room_at:%Y-%m-%d %H:%M} UTC)"
    needed, left, cap = map(format_usd, (refusal.needed_micro_usd, refusal.left_micro_usd, refusal.cap_micro_usd))
    return f"The query's embedding needs {needed}, but {left} is left of this {window}'s {cap} for {scope}{when}."
