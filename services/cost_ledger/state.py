"""One partition's state in memory, and how a batch of logged requests changes it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from millrace.clock import from_millis
from millrace.contracts.events import CostDecision, CostRequest
from millrace.money import MicroUSD
from services.cost_ledger.decide import Owns, decide, undecodable
from services.cost_ledger.rows import (
    DEFAULT,
    TOTAL,
    CapKey,
    CapRow,
    HoldKey,
    HoldRow,
    Key,
    Position,
    Row,
    encode_key,
    encode_row,
    row_digest,
)
from services.cost_ledger.windows import start_of


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
    """A changed row with its bytes."""

    key: Key
    row: Row
    raw_key: bytes
    raw_row: bytes


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

    def load(self, written: Iterable[Written], position: Position) -> bool:
        """Take over committed rows; false when they are not the ones that the position was written with."""
        self._put(written)
        self.position = position
        digest = 0
        for part in self._digests.values():
            digest ^= part
        return digest == position.digest

    def apply(self, batch: Batch) -> None:
        """Make a committed batch the state."""
        self._put(batch.written)
        self.position = batch.position

    def _put(self, written: Iterable[Written]) -> None:
        for key, row, raw_key, raw_row in written:
            self.rows[key] = row
            self._digests[key] = row_digest(raw_key, raw_row)
            if isinstance(key, CapKey) and isinstance(row, CapRow):
                self.caps[key] = row
            elif isinstance(key, HoldKey) and isinstance(row, HoldRow):
                if row.state in ("held", "unconfirmed"):
                    self.open[key] = row
                else:
                    self.open.pop(key, None)

    def batch(self, records: Sequence[Logged], owns: Owns) -> Batch:
        """Decide requests that follow the position without a gap; changes nothing here."""
        changed: dict[Key, Row] = {}

        def get(key: Key) -> Row | None:
            return changed.get(key) or self.rows.get(key)

        decisions: list[CostDecision] = []
        position = self.position
        for record in records:
            # The broker's clock may step back; windows and expiry never do.
            at_ms = max(position.at, record.at_ms)
            day = start_of("day", at_ms)
            if day != position.day:
                decisions += self._open_day(changed, record.account, at_ms, record.offset)
            position = replace(position, offset=record.offset, at=at_ms, day=day)
            if isinstance(record.request, str):
                decisions.append(undecodable(record.account, record.request, at_ms=at_ms, offset=record.offset))
                continue
            verdict = decide(get, record.request, at_ms=at_ms, offset=record.offset, owns=owns)
            changed |= verdict.changes
            decisions.append(verdict.decision)
        written = [Written(key, row, encode_key(key), encode_row(row)) for key, row in changed.items()]
        return Batch(decisions, written, replace(position, digest=self._digest_after(written)))

    def _digest_after(self, written: Iterable[Written]) -> int:
        digest = self.position.digest
        for key, _, raw_key, raw_row in written:
            digest ^= self._digests.get(key, 0) ^ row_digest(raw_key, raw_row)
        return digest

    def _open_day(self, changed: dict[Key, Row], account: str, at_ms: int, offset: int) -> list[CostDecision]:
        """Caps and open holds at the first request of a UTC day, so that a rebuild can start at any day."""
        caps = dict(self.caps) | {k: r for k, r in changed.items() if isinstance(k, CapKey) and isinstance(r, CapRow)}
        holds = dict(self.open) | {
            k: r for k, r in changed.items() if isinstance(k, HoldKey) and isinstance(r, HoldRow)
        }
        holds = {k: r for k, r in holds.items() if r.state in ("held", "unconfirmed")}
        now = from_millis(at_ms)
        opening = CostDecision(
            request_id=f"day:{now:%Y-%m-%d}",
            op="set-cap",
            outcome="day-opened",
            account=account or DEFAULT,
            scope=TOTAL,
            reason=f"{len(caps)} caps and {len(holds)} open holds follow",
            request_offset=offset,
            decided_at=now,
        )
        return [
            opening,
            *(_cap_in_force(opening, key, row) for key, row in caps.items()),
            *(_open_hold(opening, key, row) for key, row in holds.items()),
        ]


def _cap_in_force(opening: CostDecision, key: CapKey, row: CapRow) -> CostDecision:
    return opening.model_copy(
        update={
            "request_id": row.set_by,
            "account": key.account,
            "scope": key.scope,
            "window": key.window,
            "cap_micro_usd": row.cap,
            "mode": row.mode,
            "reason": None,
        }
    )


def _open_hold(opening: CostDecision, key: HoldKey, row: HoldRow) -> CostDecision:
    return opening.model_copy(
        update={
            "request_id": key.request_id,
            "op": "reserve",
            "account": key.account,
            "scope": row.scope,
            "amount_micro_usd": MicroUSD(row.amount),
            "previous": row.state,
            "hour_start": from_millis(row.hour),
            "day_start": from_millis(row.day),
            "expires_at": from_millis(row.expires_at),
            "share_id": row.share_id,
            "model": row.model,
            "work_key": row.work_key,
            "reason": None,
        }
    )
