"""Any order of requests: the invariants of the ledger against a model that knows only the answers' words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from millrace.clock import millis
from millrace.contracts.events import CapMode, CostDecision, CostOp, CostRequest, Window
from millrace.money import MicroUSD
from services.cost_ledger.effects import effect, windows_of
from services.cost_ledger.evolve import fold, present
from services.cost_ledger.rows import Key, Row, WindowKey, WindowRow, encode_row
from services.cost_ledger.state import Logged, State
from tests.unit.ledger.build import DAY, HOUR, MINUTE, NOON, everybody, request, reserve, set_cap

ACCOUNTS = st.sampled_from(["a", "b", "stranger"])
SCOPES = st.sampled_from(["transcribe", "embed"])
IDS = st.sampled_from([f"r{number}" for number in range(12)])
AMOUNTS = st.sampled_from([0, 1, 49, 50, 51, 99, 100, 101, 150])  # sums that meet caps exactly, or by one
Name = tuple[str, str, str, int]


@dataclass
class Hold:
    """What the model knows of a granted request."""

    amount: int
    windows: list[Name]
    counted: int
    bill: int | None = None


class Model:
    """Keeps the books by the words of the answers alone; shares no arithmetic with the ledger."""

    def __init__(self) -> None:
        self.holds: dict[tuple[str, str], Hold] = {}
        self.forgotten: list[Hold] = []
        self.ended: dict[tuple[str, str], int] = {}
        self.first: dict[tuple[str, str], CostDecision] = {}
        self.caps: dict[tuple[str, str, str], tuple[int | None, str]] = {}

    def used(self) -> Counter[Name]:
        """Micro-dollars that count, by window."""
        sums: Counter[Name] = Counter()
        for hold in (*self.forgotten, *self.holds.values()):
            for name in hold.windows:
                sums[name] += hold.counted
        return sums

    def bills(self) -> int:
        """All that was ever settled."""
        return sum(hold.bill or 0 for hold in (*self.forgotten, *self.holds.values()))

    def _forget(self, key: tuple[str, str], at: int) -> None:
        """Ten minutes after its end an id is as if it had never been; what it cost stays."""
        if key in self.ended and at >= self.ended[key] + 10 * MINUTE:
            del self.ended[key]
            self.first.pop(key, None)
            if key in self.holds:
                self.forgotten.append(self.holds.pop(key))

    def see(self, decision: CostDecision) -> None:
        key = (decision.account, decision.request_id)
        at = millis(decision.decided_at)
        self._forget(key, at)
        if decision.outcome == "cap-changed":
            assert decision.window is not None
            cap = (decision.cap_micro_usd, decision.mode or "enforce")
            self.caps[decision.account, decision.scope, decision.window] = cap
        elif decision.op == "reserve" and decision.outcome in ("granted", "denied"):
            self._reserved(key, decision)
        elif decision.outcome in ("settled", "reconciled"):
            hold = self.holds[key]
            if hold.bill is None:
                self.ended[key] = at
                hold.bill = hold.counted = decision.actual_micro_usd
            assert decision.actual_micro_usd == hold.bill, "settled once, whatever is said later"
        elif decision.outcome == "released":
            if decision.previous != "released":
                self.ended.setdefault(key, at)
            if key in self.holds:
                self.holds[key].counted = 0

    def _reserved(self, key: tuple[str, str], decision: CostDecision) -> None:
        first = self.first.setdefault(key, decision)
        same = ("outcome", "amount_micro_usd", "hour_start", "day_start", "denied_by", "left_micro_usd", "room_at")
        assert [getattr(decision, name) for name in same] == [getattr(first, name) for name in same]
        if decision.outcome == "denied":
            self.ended.setdefault(key, millis(decision.decided_at))
        if first is not decision or decision.outcome == "denied":
            return
        assert decision.hour_start is not None
        assert decision.day_start is not None
        hour, day = millis(decision.hour_start), millis(decision.day_start)
        account = decision.account
        scopes = (decision.scope, "total")
        windows = [(account, s, w, at) for s in scopes for w, at in (("hour", hour), ("day", day))]
        self.holds[key] = Hold(decision.amount_micro_usd, windows, decision.amount_micro_usd)
        self._within_caps(windows, decision)

    def _within_caps(self, windows: list[Name], decision: CostDecision) -> None:
        used = self.used()
        for account, scope, window, start in windows:
            own = self.caps.get((account, scope, window))
            cap, mode = own or self.caps.get(("default", scope, window)) or (None, "enforce")
            if cap is not None and mode == "enforce" and decision.amount_micro_usd > 0:
                assert used[account, scope, window, start] <= cap, f"a grant broke the cap {window}:{scope}"


class LedgerMachine(RuleBasedStateMachine):
    """Appends requests in any order; commits them in batches of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.model = Model()
        self.now = NOON
        self.log: list[Logged] = []
        self.waiting: list[Logged] = []
        self.decisions: list[CostDecision] = []
        self._append(set_cap("hour", 150))
        self._append(set_cap("day", 400))
        self._append(set_cap("day", None, scope="total"))

    def _append(self, what: CostRequest | str) -> None:
        record = Logged(len(self.log), self.now, "a", what)
        self.log.append(record)
        self.waiting.append(record)

    @rule(request_id=IDS, account=ACCOUNTS, scope=SCOPES, amount=AMOUNTS, minutes=st.integers(1, 120))
    def reserves(self, request_id: str, account: str, scope: str, amount: int, minutes: int) -> None:
        self._append(reserve(request_id, amount, account, scope, hold_ms=minutes * MINUTE))

    @rule(
        op=st.sampled_from(["settle", "release", "unknown", "expire", "reconcile"]),
        request_id=IDS,
        account=ACCOUNTS,
        amount=AMOUNTS,
    )
    def tells(self, op: CostOp, request_id: str, account: str, amount: int) -> None:
        self._append(request(op, request_id, account, amount_micro_usd=MicroUSD(amount)))

    @rule(
        account=st.sampled_from(["a", "default"]),
        scope=st.sampled_from(["transcribe", "embed", "total"]),
        window=st.sampled_from(["hour", "day"]),
        cap=st.none() | st.sampled_from([0, 50, 100, 150, 200]),
        mode=st.sampled_from(["enforce", "enforce", "warn"]),
    )
    def sets_a_cap(self, account: str, scope: str, window: Window, cap: int | None, mode: CapMode) -> None:
        self._append(set_cap(window, cap, account, scope, mode))

    @rule(text=st.text(max_size=20))
    def says_nonsense(self, text: str) -> None:
        self._append(f"undecodable: {text}")

    @rule(by=st.sampled_from([1, MINUTE, 9 * MINUTE, 59 * MINUTE, HOUR, DAY, -MINUTE, -HOUR]))
    def time_passes(self, by: int) -> None:
        self.now += by

    @rule(count=st.integers(1, 30))
    def commits(self, count: int) -> None:
        batch, self.waiting = self.waiting[:count], self.waiting[count:]
        if not batch:
            return
        decided = self.state.batch(batch, everybody)
        self.state.apply(decided)
        self.decisions += decided.decisions
        for decision in decided.decisions:
            if decision.outcome != "day-opened":
                self.model.see(decision)

    @invariant()
    def the_sums_are_those_of_the_answers(self) -> None:
        used = self.model.used()
        for key, row in present(self.state.rows, self.state.position.at).items():
            if isinstance(key, WindowKey) and isinstance(row, WindowRow):
                assert row.used == used[key.account, key.scope, key.window, key.start]
                assert min(row.settled, row.held, row.unconfirmed, row.overrun) >= 0

    def teardown(self) -> None:
        self.commits(len(self.waiting))
        assert [d.request_offset for d in self.decisions if d.outcome != "day-opened"] == list(range(len(self.log)))
        self._money_is_conserved()
        self._deciding_again_comes_to_the_same()
        self._the_decisions_come_to_the_rows()

    def _money_is_conserved(self) -> None:
        """What was billed is what the journal adds up to, by the hour and by the day."""
        sums: Counter[tuple[str, bool]] = Counter()
        for decision in self.decisions:
            for window in windows_of(decision):
                sums[window.window, window.scope == "total"] += effect(decision).settled
        assert set(sums.values()) <= {self.model.bills()}

    def _deciding_again_comes_to_the_same(self) -> None:
        again = State()
        decisions: list[CostDecision] = []
        for record in self.log:  # one by one, whatever the batches were
            batch = again.batch([record], everybody)
            again.apply(batch)
            decisions += batch.decisions
        assert again.rows == self.state.rows
        assert again.position == self.state.position, "the digest is in it"
        assert decisions == self.decisions

    def _the_decisions_come_to_the_rows(self) -> None:
        at = self.state.position.at
        rows = present(self.state.rows, at)
        assert fold(self.decisions) == rows
        for place, decision in enumerate(self.decisions):
            if decision.request_id.startswith("day:") and decision.outcome == "day-opened":
                since = millis(decision.decided_at) // DAY * DAY
                assert _since(fold(self.decisions[place:]), since) == _since(rows, since)


def _since(rows: Mapping[Key, Row], day: int) -> dict[Key, bytes]:
    """What a rebuild from the opening of a day has to come to, as bytes: not what ended before it."""
    return {
        key: encode_row(row)
        for key, row in rows.items()
        if (key.start if isinstance(key, WindowKey) else getattr(row, "ended_at", None) or day) >= day
    }


LedgerMachine.TestCase.settings = settings(
    max_examples=2000, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLedger = pytest.mark.timeout(900)(LedgerMachine.TestCase)  # two thousand sequences
