"""Holds what the ledger has written in several places beside what its log of decisions says. Pure.

A place may be read while the ledger works: each window's row says which decision it has seen last, and is compared
with the log at that decision; rows of the core are compared at their own position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from typing import Final, NamedTuple

from millrace.clock import from_millis, millis
from millrace.contracts.events import DEFAULT_ACCOUNT, CostDecision, CostSpend, Window
from millrace.ledger.topics import ROWS, SPEND
from services.cost_ledger.effects import NOTHING, effect, windows_of
from services.cost_ledger.evolve import Fold, present
from services.cost_ledger.rows import (
    FENCE_KEY,
    POSITION_KEY,
    CapKey,
    CapRow,
    Key,
    Position,
    Row,
    WindowKey,
    WindowRow,
    encode_key,
    encode_row,
    row_digest,
)
from services.cost_ledger.spend import Decided, JsonRow, WindowName, cap_key, done_key, sums_of
from services.cost_ledger.state import decoded
from services.cost_ledger.topics import DAILY, HOURLY
from services.cost_ledger.windows import start_of

SHOWN: Final = 20
"""Differences that are told in full; all are counted."""
TABLES: Final[Mapping[Window, str]] = {"hour": HOURLY, "day": DAILY}


class Difference(NamedTuple):
    """What a place holds and what the log says about it; `about` names a row."""

    place: str
    about: str
    log: str
    found: str


@dataclass
class Differences:
    """All of them counted, the first few in full."""

    count: int = 0
    shown: list[Difference] = field(default_factory=list)

    def add(self, place: str, about: str, log: object, found: object) -> None:
        """One more."""
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(Difference(place, about, str(log), str(found)))


class Held(NamedTuple):
    """A window's row in some place: its sums, and the offset of the decision that changed it last."""

    sums: WindowRow
    as_of: int


def _held(row: CostSpend) -> Held:
    settled, held, unconfirmed = row.settled_micro_usd, row.held_micro_usd, row.unconfirmed_micro_usd
    return Held(WindowRow(settled, held, unconfirmed, row.overrun_micro_usd, row.calls), row.as_of_offset)


@dataclass(frozen=True)
class Places:
    """What the places hold of one partition. `tables` are Faust's rows by their keys, `rows` the core's as bytes."""

    rows: Mapping[bytes, bytes]
    tables: Mapping[Window, Mapping[str, JsonRow]]
    spend: Mapping[WindowKey, CostSpend]

    def done(self, partition: int) -> int:
        """Offset of the last decision that the tables, and so the spend topic, have recorded; -1: none."""
        rows = (table.get(done_key(partition)) for table in self.tables.values())
        return min((-1 if row is None else (row["decision"] or 0) for row in rows), default=-1)

    def windows(self) -> dict[str, dict[WindowKey, Held]]:
        """Windows by place."""
        spend = {key: _held(row) for key, row in self.spend.items()}
        # Without a decision: a cap that was announced before anything was spent.
        found = {SPEND: {key: held for key, held in spend.items() if held != Held(NOTHING, -1)}}
        for window, table in self.tables.items():
            place: dict[WindowKey, Held] = {}
            found[TABLES[window]] = place
            for key, row in table.items():
                if (name := WindowName.of(key)) is not None:
                    place[WindowKey(name.account, name.scope, window, name.start)] = Held(
                        sums_of(row), row["as_of"] or 0
                    )
        return found


class PartitionAudit:
    """Follows one partition's decisions in order and compares as it goes; `differences` grows.

    :param since_ms: start of the first day that the log still has whole; windows before it are not compared.
    :param required: offset of a decision that every place must have seen by now.
    """

    def __init__(
        self, partition: int, places: Places, differences: Differences, *, since_ms: int, required: int | None
    ) -> None:
        self.last = Decided(partition, -1, _NONE)
        self._partition = partition
        self._places = places
        self._differences = differences
        self._since_ms = since_ms
        self._required = required
        self._windows = places.windows()
        self._done = places.done(partition)
        self.position = self._read_position()
        """Of the core's rows; none where it is not readable, which is a difference."""
        self._fold = Fold()
        self._sums: dict[WindowKey, Held] = {}
        self._due: dict[WindowKey, int] = {}
        self._seen: dict[tuple[str, WindowKey], int] = {}
        self._rows_compared = self._caps_compared = False

    def follow(self, decided: Decided) -> None:
        """The next decision of the log."""
        if decided.decision.request_offset > self.position.offset:
            self._compare_rows()
        if decided.offset > self._done:
            self._compare_caps()
        self._fold.add(decided.decision)
        self.last = decided
        change = effect(decided.decision)
        if change == NOTHING:
            return
        for key in windows_of(decided.decision):
            if key.start < self._since_ms:
                continue
            sums = self._sums[key].sums if key in self._sums else NOTHING
            now = self._sums[key] = Held(sums.plus(change), decided.offset)
            if decided.offset <= self._done:
                self._due[key] = decided.offset
            for place in self._places_of(key):
                held = self._windows[place].get(key)
                if held is not None and held.as_of == decided.offset:
                    del self._windows[place][key]
                    self._seen[place, key] = decided.offset
                    if held != now:
                        self._differences.add(place, _shown(key), now.sums, held.sums)

    def end(self) -> None:
        """The log has been read to its end."""
        self._compare_rows()
        self._compare_caps()
        self._compare_stale()
        self._compare_spend_caps()
        required = self.last.offset if self._required is None else self._required
        if self._done < required:
            self._differences.add(
                f"{HOURLY}, {DAILY}", f"partition {self._partition}", f"ends at {required}", f"at {self._done}"
            )

    def _places_of(self, key: WindowKey) -> tuple[str, str]:
        return SPEND, TABLES[key.window]

    def _compare_stale(self) -> None:
        """Windows that a place lacks, or holds as no decision left them."""
        for key, offset in self._due.items():
            for place in self._places_of(key):
                held = self._windows[place].pop(key, None)
                seen = self._seen.get((place, key))
                if held is not None or seen is None or seen < offset:
                    found = held or ("no row" if seen is None else f"as of {seen}")
                    self._differences.add(place, _shown(key), f"as of {offset}: {self._sums[key].sums}", found)
        for place, windows in self._windows.items():
            for key, held in windows.items():
                if key.start >= self._since_ms and held.as_of <= self.last.offset:
                    said = self._sums.get(key)
                    self._differences.add(place, _shown(key), "nothing" if said is None else said.sums, held.sums)

    def _compare_caps(self) -> None:
        if self._caps_compared or self._done < 0:
            return
        self._caps_compared = True
        for key, row in self._fold.rows.items():
            if not isinstance(key, CapKey) or not isinstance(row, CapRow):
                continue
            found = self._places.tables[key.window].get(cap_key(self._partition, key.account, key.scope))
            ahead = found is not None and (found["as_of"] or 0) > self._done
            if not ahead and (found is None or found["cap"] != row.cap):
                self._differences.add(TABLES[key.window], f"cap {'|'.join(key)}", row.cap, found and found["cap"])

    def _compare_spend_caps(self) -> None:
        """The caps that present windows show to the world, when nothing is on its way."""
        if self._done != self.last.offset:
            return
        for key, row in self._places.spend.items():
            if key.start == start_of(key.window, self._fold.at_ms):
                caps = (
                    self._fold.rows.get(CapKey(who, key.scope, key.window)) for who in (key.account, DEFAULT_ACCOUNT)
                )
                cap = next((one.cap for one in caps if isinstance(one, CapRow)), None)
                if row.cap_micro_usd != cap:
                    self._differences.add(SPEND, f"cap of {_shown(key)}", cap, row.cap_micro_usd)

    def _read_position(self) -> Position:
        try:
            return decoded({key: value for key, value in self._places.rows.items() if key == POSITION_KEY})[1]
        except (ValueError, TypeError) as exc:
            self._differences.add(ROWS, f"position of partition {self._partition}", "readable", exc)
            return Position()

    def _compare_rows(self) -> None:
        """Byte by byte, and the digest over what is stored."""
        if self._rows_compared:
            return
        self._rows_compared = True
        stored = {k: v for k, v in self._places.rows.items() if k not in (POSITION_KEY, FENCE_KEY)}
        digest = reduce(xor, (row_digest(key, value) for key, value in stored.items()), 0)
        if digest != self.position.digest:
            self._differences.add(ROWS, f"digest of partition {self._partition}", self.position.digest, digest)
        try:
            rows = {written.key: written.row for written in decoded(stored)[0] if written.row is not None}
        except (ValueError, TypeError) as exc:
            self._differences.add(ROWS, f"partition {self._partition}", "readable", exc)
            return
        for key, said, found in _unequal(self._fold.present(), present(rows, self._fold.at_ms)):
            if not isinstance(key, WindowKey) or key.start >= self._since_ms:
                self._differences.add(ROWS, encode_key(key).decode(), said, found)


def _unequal(said: Mapping[Key, Row], found: Mapping[Key, Row]) -> list[tuple[Key, str, str]]:
    keys = [key for key in {**said, **found} if said.get(key) != found.get(key)]
    return [(key, _row_shown(said.get(key)), _row_shown(found.get(key))) for key in keys]


def _row_shown(row: Row | None) -> str:
    return "nothing" if row is None else encode_row(row).decode()


def _shown(key: WindowKey) -> str:
    return f"{key.account}|{key.scope}|{key.window}|{from_millis(key.start):%Y-%m-%dT%H:%MZ}"


def first_whole_day(first: CostDecision) -> int:
    """Start of the first day, in milliseconds, of which the log has everything, given the oldest decision kept."""
    return 0 if first.request_offset == 0 else start_of("day", millis(first.decided_at))


_NONE: Final = CostDecision(
    request_id="",
    op="reserve",
    outcome="unchanged",
    account="",
    scope="",
    request_offset=-1,
    decided_at=from_millis(0),
)
