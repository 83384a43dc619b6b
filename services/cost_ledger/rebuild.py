"""What the ledger's places must hold by its log of decisions, and how that differs from what they do hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from operator import xor
from typing import Final, NamedTuple

from millrace.contracts.events import CostSpend, Window
from services.cost_ledger.evolve import FILED, Fold
from services.cost_ledger.rows import FENCE_KEY, POSITION_KEY, Position, WindowKey, encode_key, encode_row, row_digest
from services.cost_ledger.spend import Decided, Done, Home, JsonRow, SpendBook, WindowName
from services.cost_ledger.windows import WINDOWS, start_of

_OURS: Final = frozenset(
    {"settled", "held", "unconfirmed", "overrun", "calls", "as_of", "at", "cap", "request", "decision"}
)
"""Fields of the tables' rows that the log decides; others (which alerts were raised) stay as they are."""


class Change(NamedTuple):
    """A row to be written; None: to be removed."""

    key: bytes
    value: bytes | None


class Truth:
    """One partition, decision by decision.

    :param since_ms: start of the first day that the log has whole; sums of windows before it are left alone.
    """

    def __init__(self, home: Home, *, since_ms: int) -> None:
        self.last: Decided | None = None
        self._since_ms = since_ms
        self._opening: int | None = None
        self._fold = Fold()
        self._books = {window: SpendBook(window, {}, home) for window in WINDOWS}
        self._names: dict[Window, set[WindowName]] = {window: set() for window in WINDOWS}

    def follow(self, decided: Decided) -> None:
        """The next decision."""
        decision = decided.decision
        if self.last is None and self._since_ms:
            self._opening = decision.request_offset
        self.last = decided
        self._fold.add(decision)
        if decision.outcome == "day-opened":
            # Where the log begins with a day, its caps come from the opening; what the file said is no cap in force.
            begins = decision.request_offset == self._opening
            if not begins or decision.window is None or decision.request_id == f"{FILED}last":
                return
            decided = decided._replace(decision=decision.model_copy(update={"outcome": "cap-changed"}))
        for window, book in self._books.items():
            self._names[window] |= book.apply(decided)
            if decision.outcome != "day-opened":
                book.finish(decided.partition, Done(decision.request_offset, decided.offset))

    def rows(self, stored: Mapping[bytes, bytes]) -> list[Change]:
        """Of the core's rows topic, the position last; nothing when all is as it should be."""
        if self.last is None:
            return []
        wanted = {encode_key(key): encode_row(row) for key, row in self._fold.present().items()}
        digest = reduce(xor, (row_digest(key, value) for key, value in wanted.items()), 0)
        at = self._fold.at_ms
        position = Position(self.last.decision.request_offset, at, start_of("day", at), digest)
        kept = {key: value for key, value in stored.items() if key != FENCE_KEY}
        return list(_changes(kept, {**wanted, POSITION_KEY: encode_row(position)}))

    def table(self, window: Window, stored: Mapping[str, JsonRow]) -> dict[str, JsonRow | None]:
        """Changes of a Faust table's rows; None: to be removed."""
        wanted = {key: row for key, row in self._books[window].rows.items() if not self._is_before(key)}
        changes: dict[str, JsonRow | None] = {
            key: {**{n: v for n, v in stored.get(key, {}).items() if n not in _OURS}, **row}
            for key, row in wanted.items()
            if _ours(stored.get(key)) != row
        }
        gone = (key for key in stored if key not in wanted and not self._is_before(key))
        return changes | dict.fromkeys(gone)

    def spend(self, stored: Mapping[WindowKey, CostSpend]) -> dict[WindowKey, CostSpend | None]:
        """Changes of the spend topic's rows; None: to be removed. A row whose window is over keeps the cap it had."""
        wanted = {
            WindowKey(name.account, name.scope, window, name.start): self._books[window].published(name)
            for window, names in self._names.items()
            for name in names
            if name.start >= self._since_ms
        }
        changes: dict[WindowKey, CostSpend | None] = {}
        for key, row in wanted.items():
            there = stored.get(key)
            if key.start != start_of(key.window, self._fold.at_ms) and there is not None:
                row = row.model_copy(update={"cap_micro_usd": there.cap_micro_usd})  # noqa: PLW2901  # the same row
            if there != row:
                changes[key] = row
        gone = (key for key in stored if key not in wanted and key.start >= self._since_ms)
        return changes | dict.fromkeys(gone)

    def _is_before(self, key: str) -> bool:
        name = WindowName.of(key)
        return name is not None and name.start < self._since_ms


def _ours(row: JsonRow | None) -> JsonRow | None:
    return None if row is None else {name: value for name, value in row.items() if name in _OURS}


def _changes(stored: Mapping[bytes, bytes], wanted: Mapping[bytes, bytes]) -> Iterator[Change]:
    yield from (Change(key, None) for key in stored if key not in wanted)
    yield from (Change(key, value) for key, value in wanted.items() if stored.get(key) != value)
