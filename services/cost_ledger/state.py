"""One partition's state in memory, and how a batch of logged requests changes it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final, NamedTuple

from millrace.contracts.events import CostDecision, CostRequest
from services.cost_ledger.day import open_day
from services.cost_ledger.decide import Owns, decide, undecodable
from services.cost_ledger.evolve import Get, evolve, is_past, past_at
from services.cost_ledger.rows import (
    FENCE_KEY,
    POSITION_KEY,
    CapKey,
    CapRow,
    HoldKey,
    HoldRow,
    Key,
    Position,
    Row,
    decode,
    decode_position,
    encode_key,
    encode_row,
    row_digest,
)
from services.cost_ledger.windows import start_of

PRUNED_PER_REQUEST: Final = 4
"""Rows whose time is over that go with each request. One request makes at most one hold and four windows, most make
one hold: so the store shrinks, and no request pays for an hour's worth."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A record of the request log: where and when the broker appended it, and what it says.

    `request` is the sentence why not, when the bytes are no request; `account` is the key of the record.
    """

    offset: int
    at_ms: int
    account: str
    request: CostRequest | str
    traceparent: str | None = None


class Written(NamedTuple):
    """A changed row with its bytes; None: the row is gone."""

    key: Key
    row: Row | None
    raw_key: bytes
    raw_row: bytes | None


def decoded(stored: Mapping[bytes, bytes]) -> tuple[list[Written], Position]:
    """A partition's rows from their bytes, and its position.

    :raises ValueError: they are not what this version writes.
    :raises TypeError: likewise.
    """
    position = decode_position(stored[POSITION_KEY]) if POSITION_KEY in stored else Position()
    rows = [(key, value) for key, value in stored.items() if key not in (POSITION_KEY, FENCE_KEY)]
    return [Written(*decode(key, value), key, value) for key, value in rows], position


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch of requests comes to: everything that one transaction has to carry."""

    decisions: list[CostDecision]
    written: list[Written]
    position: Position


class State:
    """The rows of one partition. `apply` is the only way in, after the broker has committed."""

    def __init__(self) -> None:
        self.position = Position()
        self.rows: dict[Key, Row] = {}
        self.caps: dict[CapKey, CapRow] = {}
        self.open: dict[HoldKey, HoldRow] = {}
        self._digests: dict[Key, int] = {}
        self._passing: list[tuple[int, bytes, Key]] = []

    def load(self, written: Iterable[Written], position: Position) -> bool:
        """Take over committed rows; false when they are not the ones that the position was written with."""
        self._put(written)
        self.position = position
        digest = 0
        for part in self._digests.values():
            digest ^= part
        for key, row in self.rows.items():
            self.note(key, row)
        return digest == position.digest

    def apply(self, batch: Batch) -> None:
        """Make a committed batch the state."""
        self._put(batch.written)
        self.position = batch.position

    def _put(self, written: Iterable[Written]) -> None:
        for key, row, raw_key, raw_row in written:
            if row is None or raw_row is None:
                self.rows.pop(key, None)
                self._digests.pop(key, None)
                if isinstance(key, HoldKey):  # it may have ended in this very batch, after an outage say
                    self.open.pop(key, None)
                continue
            self.rows[key] = row
            self._digests[key] = row_digest(raw_key, raw_row)
            if isinstance(key, CapKey) and isinstance(row, CapRow):
                self.caps[key] = row
            elif isinstance(key, HoldKey) and isinstance(row, HoldRow):
                if row.ended_at is None:
                    self.open[key] = row
                else:
                    self.open.pop(key, None)

    def note(self, key: Key, row: Row) -> None:
        """Remember when a row's time will be over."""
        when = past_at(key, row)
        if when is not None:
            heappush(self._passing, (when, encode_key(key), key))

    def batch(self, records: Sequence[Logged], owns: Owns) -> Batch:
        """Decide requests that follow the position without a gap; nothing of it is the state before `apply`."""
        draft = _Draft(self)
        for record in records:
            draft.decide(record, owns)
        written = [_written(key, row) for key, row in draft.changed.items()]
        return Batch(draft.decisions, written, draft.position._replace(digest=self._digest_after(written)))

    def _digest_after(self, written: Iterable[Written]) -> int:
        digest = self.position.digest
        for key, _, raw_key, raw_row in written:
            digest ^= self._digests.get(key, 0)
            if raw_row is not None:
                digest ^= row_digest(raw_key, raw_row)
        return digest

    def take_past(self, at_ms: int, get: Get, limit: int) -> Iterator[Key]:
        """At most so many rows whose time is over. Each is told once: a row that changed meanwhile is told later.

        Should the batch at hand not be applied, they stay stored, which changes no answer.
        """
        told = 0
        while self._passing and self._passing[0][0] <= at_ms and told < limit:
            when, _, key = heappop(self._passing)
            row = get(key)
            if row is not None and past_at(key, row) == when:
                told += 1
                yield key


class _Draft:
    """A batch in the making: what it changes, over the state as it is."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._rows = state.rows
        self.changed: dict[Key, Row | None] = {}
        self.decisions: list[CostDecision] = []
        self.position = state.position

    def _stored(self, key: Key) -> Row | None:
        return self.changed[key] if key in self.changed else self._rows.get(key)

    def _get(self, key: Key) -> Row | None:
        row = self._stored(key)
        # Of windows only those of the present are asked for, and caps do not age.
        return None if isinstance(row, HoldRow) and is_past(row, self.position.at) else row

    def decide(self, record: Logged, owns: Owns) -> None:
        before = self.position
        # The broker's clock may step back; windows and expiry never do.
        at_ms = max(before.at, record.at_ms)
        day = start_of("day", at_ms)
        self.position = Position(record.offset, at_ms, day)
        if day != before.day:
            self.decisions += self._day(record)
        if isinstance(record.request, str):
            self.decisions.append(undecodable(record.account, record.request, at_ms=at_ms, offset=record.offset))
        else:
            decision = decide(self._get, record.request, at_ms=at_ms, offset=record.offset, owns=owns)
            self.decisions.append(decision)
            for key, row in evolve(self._get, decision).items():
                if isinstance(row, HoldRow) or self._stored(key) is None:
                    self._state.note(key, row)
                self.changed[key] = row
        for key in self._state.take_past(at_ms, self._stored, PRUNED_PER_REQUEST):
            self.changed[key] = None

    def _day(self, record: Logged) -> list[CostDecision]:
        caps, holds = dict(self._state.caps), dict(self._state.open)
        for key, row in self.changed.items():
            if isinstance(key, CapKey) and isinstance(row, CapRow):
                caps[key] = row
            elif isinstance(key, HoldKey):
                holds.pop(key, None)
                if isinstance(row, HoldRow) and row.ended_at is None:
                    holds[key] = row
        return open_day(caps, holds, account=record.account, at_ms=self.position.at, offset=record.offset)


def _written(key: Key, row: Row | None) -> Written:
    return Written(key, row, encode_key(key), None if row is None else encode_row(row))
