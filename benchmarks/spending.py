"""Weeks of spending as the ledger's recorder writes it, made from a seed: decisions, and rows of their shares."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from millrace.contracts.events import CostDecision, CostOp, CostOutcome, HoldState
from millrace.money import MicroUSD
from services.cost_ledger.journal import COLUMNS, entry
from services.embed_agent.together import divided

MODELS: Final = {
    "transcribe": ("whisper-1", "gpt-4o-transcribe", "small"),
    "summarize": ("gpt-5-mini", "claude-haiku", "llama3.2"),
    "embed": ("text-embedding-3-small", "wordllama"),
    "search": ("text-embedding-3-small",),
}
_PLATFORMS: Final = ("youtube", "tiktok", "web", "podcast")
_PARTITIONS: Final = 4
_TOGETHER: Final = 30
"""Every so many calls about texts, one is for those of all shares since the last such one."""
_FATES: Final = (
    "settled",
    "settled",
    "settled",
    "settled",
    "overrun",
    "released",
    "unconfirmed",
    "reconciled",
    "held",
)


@dataclass
class Spending:
    """Calls spread evenly over the time before `now`; the same seed makes the same ones."""

    now: datetime
    days: int = 35
    seed: int = 1
    owners: int = 20
    accounts: Sequence[str] = ("default", "research")
    _offsets: list[int] = field(default_factory=lambda: [0] * _PARTITIONS)

    def decisions(self, entries: int) -> Iterator[tuple[int, int, CostDecision]]:
        """About so many decisions, each with its partition and its offset in the log of decisions."""
        chance, made, number = random.Random(self.seed), 0, 0  # noqa: S311  # figures, no secrets
        while made < entries:
            at = self.now - timedelta(days=self.days) * (1 - made / entries)
            for decision in self._call(chance, number, at):
                partition = number % _PARTITIONS
                offset = self._offsets[partition]
                self._offsets[partition] += 1
                yield partition, 2 * offset, decision.model_copy(update={"request_offset": offset})
                made += 1
            number += 1

    def _call(self, chance: random.Random, number: int, at: datetime) -> Iterator[CostDecision]:
        scope = chance.choice(tuple(MODELS))
        amount = MicroUSD(chance.randrange(1, 50_000))
        fate = chance.choice(_FATES)
        hour = at.replace(minute=0, second=0, microsecond=0)
        asked = CostDecision(
            request_id=f"request-{self.seed}-{number}",
            op="reserve",
            outcome="granted",
            account=chance.choice(self.accounts),
            scope=scope,
            amount_micro_usd=amount,
            hour_start=hour,
            day_start=hour.replace(hour=0),
            share_id=None if scope == "search" else share_id(self.seed, number // 3),
            model=chance.choice(MODELS[scope]),
            work_key=None if scope == "search" else f"{scope}:{self.seed}-{number}",
            request_offset=0,
            decided_at=at,
        )
        yield asked
        actual = amount + 17 if fate == "overrun" else chance.randrange(0, amount + 1)
        for op, outcome, previous in _ENDS[fate]:
            paid = outcome in ("settled", "reconciled")
            yield asked.model_copy(
                update={
                    "op": op,
                    "outcome": outcome,
                    "previous": previous,
                    "actual_micro_usd": actual if paid else 0,
                    "overrun_micro_usd": max(0, actual - amount) if paid else 0,
                    "decided_at": at + timedelta(seconds=chance.randrange(1, 60)),
                }
            )


_SETTLED: Final[tuple[CostOp, CostOutcome, HoldState]] = ("settle", "settled", "held")
_LOST: Final[tuple[CostOp, CostOutcome, HoldState]] = ("unknown", "unconfirmed", "held")
_ENDS: Final[dict[str, tuple[tuple[CostOp, CostOutcome, HoldState], ...]]] = {
    "settled": (_SETTLED,),
    "overrun": (_SETTLED,),
    "released": (("release", "released", "held"),),
    "unconfirmed": (_LOST,),
    "reconciled": (_LOST, ("reconcile", "reconciled", "unconfirmed"), ("reconcile", "reconciled", "settled")),
    "held": (),
}


def share_id(seed: int, number: int) -> str:
    """Of the share that three calls are for."""
    return f"share-{seed}-{number}"


async def write_journal(connection: asyncpg.Connection, decisions: Sequence[tuple[int, int, CostDecision]]) -> None:
    """All at once; the rows are those of the recorder (`services.cost_ledger.journal.entry`).

    :param connection: without codecs of its own, which COPY would not use.
    """
    await connection.copy_records_to_table(
        "ledger_entries",
        records=[entry(partition, offset, decision) for partition, offset, decision in decisions],
        columns=COLUMNS.split(", "),
    )


async def write_work(
    connection: asyncpg.Connection, decisions: Sequence[tuple[int, int, CostDecision]], spending: Spending
) -> None:
    """Shares, jobs, works and calls, with parts, of these decisions, as gateway and agents would have left them."""
    granted = [one for _, _, one in decisions if one.outcome == "granted" and one.share_id is not None]
    shares = {one.share_id: one for one in reversed(granted)}
    numbers = {name: number for number, name in enumerate(shares)}
    await connection.copy_records_to_table(
        "shares",
        records=[
            (
                name,
                one.account,
                f"owner-{numbers[name] % spending.owners}",
                "url",
                _PLATFORMS[numbers[name] % 4],
                "video",
                one.decided_at,
            )
            for name, one in shares.items()
        ],
        columns=["share_id", "account", "owner", "source_kind", "platform", "content_type", "created_at"],
    )
    ended = {one.request_id: one for _, _, one in decisions if one.outcome != "granted"}
    await connection.copy_records_to_table(
        "work",
        records=[
            (
                one.work_key,
                one.scope,
                json.dumps(_result(one)),
                one.decided_at,
                one.decided_at + timedelta(seconds=number % 90),
            )
            for number, one in enumerate(granted)
        ],
        columns=["work_key", "stage", "result", "created_at", "finished_at"],
    )
    await connection.copy_records_to_table(
        "calls", records=[_call(one, ended.get(one.request_id)) for one in granted], columns=_CALL_COLUMNS
    )
    await connection.copy_records_to_table(
        "call_parts",
        records=_parts(granted, ended),
        columns=["request_id", "work_key", "share_id", "tokens", "cost_micro_usd", "added_at"],
    )
    jobs = {(one.share_id, one.scope): one for one in granted}
    media = [(name, "media", one.account, "done", None, 0, None, one.decided_at) for name, one in shares.items()]
    await connection.copy_records_to_table(
        "jobs",
        records=[
            *((name, stage, one.account, *_ended(one, ended), one.decided_at) for (name, stage), one in jobs.items()),
            *media,
        ],
        columns=["share_id", "stage", "account", "state", "reason", "attempt", "work_key", "updated_at"],
    )


_CALL_COLUMNS: Final = (
    *("request_id", "work_key", "call_no", "attempt", "account", "scope", "share_id", "model", "state"),
    *("hold_micro_usd", "actual_micro_usd", "answer", "created_at", "called_at", "answered_at"),
)


def _call(one: CostDecision, end: CostDecision | None) -> tuple[object, ...]:
    state = "calling" if end is None else "unconfirmed" if end.outcome == "reconciled" else end.outcome
    paid = end.actual_micro_usd if end is not None and state == "settled" else None
    answered = one.decided_at + timedelta(milliseconds=one.amount_micro_usd) if state == "settled" else None
    answer = json.dumps({"summary": "Some words. " * 60}) if answered else None
    return (
        *(one.request_id, one.work_key, 0, 1, one.account, one.scope, one.share_id, one.model, state),
        *(one.amount_micro_usd, paid, answer, one.decided_at, one.decided_at, answered),
    )


def _parts(granted: Sequence[CostDecision], ended: Mapping[str, CostDecision]) -> list[tuple[object, ...]]:
    """Of each call about texts that was settled and comes after thirty others: it was made for those, too."""
    texts = [one for one in granted if one.scope == "embed"]
    parts: list[tuple[object, ...]] = []
    for at in range(_TOGETHER, len(texts), _TOGETHER):
        payer = texts[at]
        end = ended.get(payer.request_id)
        if end is not None and end.outcome == "settled":
            together = texts[at - _TOGETHER : at + 1]
            costs = divided(end.actual_micro_usd, [1 + number % 3 for number in range(len(together))])
            parts += [
                (payer.request_id, one.work_key, one.share_id, 10, cost, end.decided_at)
                for one, cost in zip(together, costs, strict=True)
            ]
    return parts


def _ended(one: CostDecision, ended: dict[str, CostDecision]) -> tuple[str, str | None, int, str | None]:
    end = ended.get(one.request_id)
    if end is None:
        return "parked", "Cap hour:transcribe is reached.", 0, None
    if end.outcome == "released":
        return "failed", f"the API of {one.model} has no answer now (HTTP 500)", 3, None
    return "done", None, 0, one.work_key


def _result(one: CostDecision) -> dict[str, object]:
    units = {"transcribe": {"billed_ms": 60_000}, "summarize": {"tokens_in": 900, "tokens_out": 100}}
    local = one.model in ("small", "llama3.2", "wordllama")
    return {
        "model": one.model,
        "backend": "local" if local else "api",
        "text": "What was said. " * 200,
        **units.get(one.scope, {"tokens": 500}),
    }
