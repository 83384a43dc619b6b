"""The spend tables' rows and how decisions change them. Pure: works on any mapping.

A table holds, for one kind of window: a row `account|scope|start` per window, and beside them rows whose keys begin
with `|` (no account does): caps as the log last set them, and how far each partition is done. Every row knows the
last decision in it, so that decisions which arrive again change nothing. A window's row also keeps what was announced
about it (`alerts.py`), in fields that most rows lack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from millrace.clock import from_millis, millis
from millrace.contracts.events import DEFAULT_ACCOUNT, CostAlert, CostDecision, CostSpend, Window
from millrace.money import MicroUSD
from services.cost_ledger.alerts import Announced, after, fields_of, said_in
from services.cost_ledger.effects import NOTHING, effect, windows_of
from services.cost_ledger.rows import WindowRow
from services.cost_ledger.windows import start_of

JsonRow: TypeAlias = dict[str, int | None]
Rows: TypeAlias = MutableMapping[str, JsonRow]
Home: TypeAlias = Callable[[str], int]
"""The partition of an account."""


class Decided(NamedTuple):
    """A decision and its place in the log of decisions."""

    partition: int
    offset: int
    decision: CostDecision


class Done(NamedTuple):
    """How far a partition is done: the request that was decided last, and where that decision is."""

    request_offset: int
    decision_offset: int


NOT_STARTED = Done(-1, -1)


class WindowName(NamedTuple):
    """Which window a row is about; `start` in milliseconds."""

    account: str
    scope: str
    start: int

    @property
    def key(self) -> str:
        """Key of its row."""
        return f"{self.account}|{self.scope}|{self.start}"

    @classmethod
    def of(cls, key: str) -> WindowName | None:
        """The window that a row is about; None for caps and positions."""
        account, scope, start, *_ = [*key.split("|"), "", ""]
        return cls(account, scope, int(start)) if account else None


class Known(NamedTuple):
    """A row as the journal has it: of which table, its key, and what it holds without the alerts that were raised."""

    window: Window
    key: str
    row: JsonRow


def partition_of(key: str, home: Home) -> int:
    """The partition that a row belongs to: that of its account, or the one that an internal row names."""
    account, *rest = key.split("|")
    return home(account) if account else int(rest[1])


@dataclass(frozen=True)
class SpendBook:
    """One table: all windows of one length."""

    window: Window
    rows: Rows
    home: Home

    def done(self, partition: int) -> Done:
        """How far a partition is done."""
        row = self.rows.get(done_key(partition))
        return Done(row["request"] or 0, row["decision"] or 0) if row else NOT_STARTED

    def finish(self, partition: int, done: Done) -> None:
        """Note that a partition is done up to here; never goes back."""
        if done > self.done(partition):
            self.rows[done_key(partition)] = {"request": done.request_offset, "decision": done.decision_offset}

    def apply(self, decided: Decided) -> set[WindowName]:
        """Add a decision; the windows whose published rows are to be written (again)."""
        if decided.decision.outcome == "cap-changed":
            return self._cap_changed(decided)
        names = {
            WindowName(k.account, k.scope, k.start) for k in windows_of(decided.decision) if k.window == self.window
        }
        change = effect(decided.decision)
        if change == NOTHING:
            # Nothing to add, but after a repeat the rows of its first time may not be published yet.
            return names
        for name in names:
            row = self.rows.get(name.key)
            if row is None or (row["as_of"] or 0) < decided.offset:
                self.rows[name.key] = {**(row or {}), **_row(sums_of(row).plus(change), decided)}
        return names

    def mend(self, known: Iterable[Known]) -> list[WindowName]:
        """Take rows over that are older here; the windows among them.

        Every writer's rows are right as of the decision that they name, so the newer one is the better one.
        """
        mended: list[WindowName] = []
        for window, key, row in known:
            here = self.rows.get(key)
            if window != self.window or (here is not None and (here["as_of"] or 0) >= (row["as_of"] or 0)):
                continue
            self.rows[key] = {**(here or {}), **row}
            if (name := WindowName.of(key)) is not None:
                mended.append(name)
        return mended

    def rewrite(self, keys: Iterable[str]) -> list[WindowName]:
        """Write rows again as they are; the windows among them."""
        found = [(key, self.rows.get(key)) for key in keys]
        for key, row in found:
            if row is not None:
                self.rows[key] = dict(row)
        return [name for key, row in found if row is not None and (name := WindowName.of(key)) is not None]

    def published(self, name: WindowName) -> CostSpend:
        """A window's row as the world sees it, with the cap in force."""
        row = self.rows.get(name.key)
        sums = sums_of(row)
        return CostSpend(
            account=name.account,
            scope=name.scope,
            window=self.window,
            start=from_millis(name.start),
            settled_micro_usd=MicroUSD(sums.settled),
            held_micro_usd=MicroUSD(sums.held),
            unconfirmed_micro_usd=MicroUSD(sums.unconfirmed),
            overrun_micro_usd=MicroUSD(sums.overrun),
            cap_micro_usd=self._cap(name),
            calls=sums.calls,
            as_of_offset=(row["as_of"] or 0) if row else -1,
            updated_at=from_millis((row["at"] or 0) if row else name.start),
        )

    def said(self, name: WindowName) -> Announced:
        """Which alerts have been raised about a window."""
        return said_in(self.rows.get(name.key))

    def note_said(self, name: WindowName, alerts: Sequence[CostAlert]) -> None:
        """Keep that these alerts are out. A window without a row has nothing that calls for one."""
        row = self.rows.get(name.key)
        if row is not None:
            self.rows[name.key] = {**row, **fields_of(after(said_in(row), alerts))}

    def _cap(self, name: WindowName) -> MicroUSD | None:
        partition = self.home(name.account)
        for account in (name.account, DEFAULT_ACCOUNT):
            row = self.rows.get(cap_key(partition, account, name.scope))
            if row is not None:
                return None if row["cap"] is None else MicroUSD(row["cap"])
        return None

    def _cap_changed(self, decided: Decided) -> set[WindowName]:
        """Note the cap, and name the present windows that it now limits."""
        decision, partition = decided.decision, decided.partition
        if decision.window != self.window:
            return set()
        key = cap_key(partition, decision.account, decision.scope)
        known = self.rows.get(key)
        if known is None or (known["as_of"] or 0) < decided.offset:
            self.rows[key] = {"cap": decision.cap_micro_usd, "as_of": decided.offset}
        start = start_of(self.window, millis(decision.decided_at))
        named = WindowName(decision.account, decision.scope, start)
        concerned = {named} if self.home(decision.account) == partition else set()
        if decision.account != DEFAULT_ACCOUNT:
            return concerned
        return concerned | {
            name
            for name in self._windows()
            if name.scope == decision.scope and name.start == start and self.home(name.account) == partition
        }

    def _windows(self) -> Iterator[WindowName]:
        return (name for key in list(self.rows) if (name := WindowName.of(key)) is not None)


def done_key(partition: int) -> str:
    """Key of the row that says how far a partition is done."""
    return f"|done|{partition}"


def cap_key(partition: int, account: str, scope: str) -> str:
    """Key of a cap's row. Default caps are in every partition, so the key names it."""
    return f"|cap|{partition}|{account}|{scope}"


def sums_of(row: JsonRow | None) -> WindowRow:
    """The sums that a window's row holds."""
    if row is None:
        return NOTHING
    return WindowRow(*(row[name] or 0 for name in ("settled", "held", "unconfirmed", "overrun", "calls")))


def _row(sums: WindowRow, decided: Decided) -> JsonRow:
    return {
        "settled": sums.settled,
        "held": sums.held,
        "unconfirmed": sums.unconfirmed,
        "overrun": sums.overrun,
        "calls": sums.calls,
        "as_of": decided.offset,
        "at": millis(decided.decision.decided_at),
    }
