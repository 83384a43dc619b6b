"""Asks the cost ledger over Kafka: the implementation of `millrace.ledger.port.Ledger`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from millrace.clock import Clock, SystemClock
from millrace.cluster import Cluster
from millrace.contracts.events import DEFAULT_ACCOUNT, CapMode, CostDecision, CostRequest, Window
from millrace.contracts.headers import headers
from millrace.contracts.provision import describe_topics
from millrace.contracts.wire import Codec
from millrace.errors import ConfigurationError, Poison, Refusal, Unavailable
from millrace.ids import RequestId
from millrace.kafka.producer import Producer
from millrace.ledger.answers import Answer, Answers
from millrace.ledger.grant import Granted
from millrace.ledger.telling import Telling
from millrace.ledger.topics import NO_CAPS_YET, REQUESTS, LedgerTopics
from millrace.money import ZERO, MicroUSD
from millrace.tracing.spans import trace_of

log = logging.getLogger(__name__)

ANSWER_WITHIN_S: Final = 30.0
ASK_AGAIN_S: Final = 3.0


class LedgerClient:
    """One per process; safe for concurrent use. Fails closed: no answer is `Unavailable`, never a grant."""

    def __init__(
        self,
        answers: Answers,
        producer: Producer,
        codec: Codec,
        *,
        source: str,
        clock: Clock,
        topics: LedgerTopics,
        partitions: int,
        answer_within_s: float,
        ask_again_s: float,
    ) -> None:
        self._answers = answers
        self._producer = producer
        self._codec = codec
        self._source = source
        self._clock = clock
        self._topics = topics
        self._partitions = partitions
        self._answer_within_s = answer_within_s
        self._ask_again_s = ask_again_s
        self._telling = Telling()

    async def reserve(
        self,
        request_id: RequestId,
        *,
        account: str,
        scope: str,
        amount: MicroUSD,
        hold_for: timedelta,
        share_id: str | None = None,
        model: str | None = None,
        work_key: str | None = None,
    ) -> Granted | Refusal:
        """Ask for a hold of at most `amount` micro-US-dollars; see `Ledger.reserve`.

        :raises Unavailable: no answer within 30 s; a release follows the reserve, a late grant is ignored.
        :raises ValueError: a negative amount, or a hold that lives no time.
        """
        if amount < 0 or hold_for <= timedelta(0):
            raise ValueError("a hold has an amount of at least 0 and lives for some time")
        request = self._request(request_id, "reserve", account, scope).model_copy(
            update={
                "amount_micro_usd": amount,
                "hold_ms": int(hold_for / timedelta(milliseconds=1)),
                "share_id": share_id,
                "model": model,
                "work_key": work_key,
            }
        )
        try:
            decision = await self._ask(request)
        except (Unavailable, asyncio.CancelledError):
            self._let_go(request_id, account, scope)
            raise
        if decision.outcome == "granted":
            return self._granted(request_id, account, scope, decision)
        return Refusal(
            cap=decision.denied_by or "unknown",
            needed_micro_usd=decision.amount_micro_usd,
            left_micro_usd=decision.left_micro_usd or ZERO,
            cap_micro_usd=decision.cap_micro_usd or ZERO,
            room_at=decision.room_at,
        )

    async def settle(
        self,
        request_id: RequestId,
        *,
        account: str,
        scope: str,
        actual: MicroUSD,
        linger: bool = False,
        confirm: bool = False,
    ) -> None:
        """Tell what the call really cost; returns when Kafka has it, with `confirm` when the ledger has decided it.

        :param linger: True: nobody waits for it, and it may wait a moment for others to go out with.

        :raises Unavailable: with `confirm`, no decision within 30 s; the settlement may still be decided.
        """
        request = self._request(request_id, "settle", account, scope).model_copy(update={"amount_micro_usd": actual})
        await (self._ask(request) if confirm else self._send(request, linger=linger))

    async def release(self, request_id: RequestId, *, account: str, scope: str) -> None:
        """Give the hold back; returns when Kafka has it."""
        await self._send(self._request(request_id, "release", account, scope))

    async def unknown(self, request_id: RequestId, *, account: str, scope: str) -> None:
        """Say that nobody knows whether the call was billed; returns when Kafka has it."""
        await self._send(self._request(request_id, "unknown", account, scope))

    async def reconcile(self, request_id: RequestId, *, account: str, scope: str, actual: MicroUSD) -> CostDecision:
        """Say what an unconfirmed call cost after all, in micro-US-dollars; returns when the ledger has decided it.

        The decision's `outcome` is `reconciled`; with `previous` settled it had been settled before, and its
        `actual_micro_usd` stands. Otherwise it is `unchanged`: `previous` is the state in which the reservation
        stays, None when no reservation has this id or it ended too long ago to be known.

        :raises Unavailable: no decision within 30 s; the request may still be decided.
        """
        request = self._request(request_id, "reconcile", account, scope)
        return await self._ask(request.model_copy(update={"amount_micro_usd": actual}))

    async def set_cap(
        self,
        request_id: RequestId,
        *,
        account: str,
        scope: str,
        window: Window,
        cap: MicroUSD | None,
        mode: CapMode = "enforce",
    ) -> list[CostDecision]:
        """Set a cap (None: no limit); that of `DEFAULT_ACCOUNT` holds for all accounts without their own.

        Returns when every partition concerned has decided it: a decision of each.

        :raises Unavailable: no decision in time; the cap may still change.
        """
        request = self._request(request_id, "set-cap", account, scope).model_copy(
            update={"window": window, "cap_micro_usd": cap, "mode": mode}
        )
        if account != DEFAULT_ACCOUNT:
            return [await self._ask(request)]
        # Answers do not carry their partition: each partition's request has its own id.
        ids = {partition: f"{request_id}:{partition}" for partition in range(self._partitions)}
        return await asyncio.gather(
            *(self._ask(request.model_copy(update={"request_id": one}), p) for p, one in ids.items())
        )

    async def close(self) -> None:
        """Wait a moment for what is on its way; what is not out by then is logged."""
        await self._telling.close()

    def _granted(self, request_id: RequestId, account: str, scope: str, decision: CostDecision) -> Granted:
        if decision.reason is not None:
            log.warning("%s: granted to %s for %s, but %s", request_id, account, scope, decision.reason)
        return Granted(
            request_id,
            account,
            scope,
            decision.amount_micro_usd,
            decision.reason,
            ends=self,
            telling=self._telling,
        )

    async def _ask(self, request: CostRequest, partition: int | None = None) -> CostDecision:
        """Send until there is a decision; that no caps are set yet is none: the ledger is just starting.

        :raises Poison: the ledger will never decide about such a request.
        """
        sending: asyncio.Task[None] | None = None
        reason = "the cost ledger does not answer"
        with self._answers.expect(request.request_id, request.op) as answers:
            try:
                async with asyncio.timeout(self._answer_within_s):
                    while True:
                        if sending is None or sending.done():
                            sending = asyncio.create_task(self._send(request, partition))
                        decision = await self._next(answers, sending)
                        if decision is None:
                            continue
                        if decision.outcome != "invalid":
                            return decision
                        reason = f"the cost ledger refuses the request: {decision.reason}"
                        if decision.reason != NO_CAPS_YET:
                            raise Poison(reason)
                        await asyncio.sleep(self._ask_again_s / 3)
            except TimeoutError:
                raise Unavailable(f"{reason}; nothing was called") from None
            finally:
                if sending is not None:
                    sending.cancel()

    async def _next(self, answers: Answer, sending: asyncio.Task[None]) -> CostDecision | None:
        """The next decision, or None when it is time to ask again."""
        try:
            async with asyncio.timeout(self._ask_again_s):
                return await answers.get()
        except TimeoutError:
            if sending.done():
                sending.result()  # what went wrong with sending concerns whoever asked
            return None

    def _let_go(self, request_id: RequestId, account: str, scope: str) -> None:
        """Release in the background, for as long as Kafka is away: the ledger then never holds this for long."""
        self._telling.begin(
            self.release(request_id, account=account, scope=scope),
            f"{request_id}: a hold that nobody heard of was not released; it counts until it runs out",
        )

    def _request(self, request_id: RequestId, op: str, account: str, scope: str) -> CostRequest:
        return CostRequest.model_validate(
            {
                "request_id": request_id,
                "op": op,
                "account": account,
                "scope": scope,
                "requested_by": self._source,
                "requested_at": self._clock.now(),
            }
        )

    async def _send(self, request: CostRequest, partition: int | None = None, *, linger: bool = False) -> None:
        about = headers(
            REQUESTS,
            f"{request.request_id}:{request.op}",
            source=self._source,
            subject=request.account,
            time=request.requested_at,
            traceparent=trace_of(None),
        )
        await self._producer.send(
            self._topics.requests,
            key=request.account.encode(),
            value=self._codec.encode(REQUESTS, request),
            headers=about,
            partition=partition,
            linger=linger,
        )


async def count_partitions(kafka: Cluster, topic: str) -> int:
    """How many partitions a topic has.

    :raises Unavailable: Kafka does not answer.
    :raises ConfigurationError: there is no such topic.
    """
    found = await asyncio.to_thread(describe_topics, kafka, [topic])
    if topic not in found:
        raise ConfigurationError(f"Kafka at {kafka} has no topic {topic}: run `millrace topics apply`.")
    return found[topic].partitions


@asynccontextmanager
async def open_ledger(
    kafka: Cluster,
    codec: Codec,
    producer: Producer,
    *,
    source: str,
    clock: Clock | None = None,
    topics: LedgerTopics | None = None,
    answer_within_s: float = ANSWER_WITHIN_S,
    ask_again_s: float = ASK_AGAIN_S,
) -> AsyncIterator[LedgerClient]:
    """A client that is ready for its first reserve.

    :param codec: connected for `cost.requests`.
    :raises Unavailable: Kafka does not answer.
    :raises ConfigurationError: the decisions topic does not exist.
    """
    topics = topics or LedgerTopics()
    partitions = await count_partitions(kafka, topics.decisions)
    answers = Answers(kafka, topics.decisions, partitions, codec)
    await answers.start()
    client = LedgerClient(
        answers,
        producer,
        codec,
        source=source,
        clock=clock or SystemClock(),
        topics=topics,
        partitions=partitions,
        answer_within_s=answer_within_s,
        ask_again_s=ask_again_s,
    )
    try:
        yield client
    finally:
        await client.close()
        await answers.stop()
