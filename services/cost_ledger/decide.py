"""What the ledger answers to one request, given its state. Pure: no clock, no settings, no I/O.

Requests are decided one after another in log order, so what a decision sees is exactly what all earlier ones left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from millrace.clock import from_millis
from millrace.contracts.events import DEFAULT_ACCOUNT, CostDecision, CostOutcome, CostRequest, HoldState
from millrace.ledger.topics import NO_CAPS_YET
from millrace.money import LARGEST, MicroUSD
from services.cost_ledger.evolve import FILED, Get
from services.cost_ledger.rows import TOTAL, CapKey, CapRow, HoldKey, HoldRow, WindowKey, WindowRow
from services.cost_ledger.windows import WINDOWS, next_start, start_of

Owns = Callable[[str], bool]

MAX_HOLD_MS: Final = 7 * 86_400_000
MAX_TEXT: Final = 300
LAST_CAP_AT_START: Final = CapKey(DEFAULT_ACCOUNT, TOTAL, "day")
"""Set last when a partition first starts. Until then nothing that costs is granted: a missing cap is not "no cap"."""
BUDGETS_FILE: Final = "budgets-file"
"""`requested_by` of caps that come from the budgets file."""


class _At(NamedTuple):
    """When and where in the log a request is: broker append time in milliseconds, and offset."""

    ms: int
    offset: int


def decide(get: Get, request: CostRequest, *, at_ms: int, offset: int, owns: Owns) -> CostDecision:
    """Answer one request; `evolve` makes the rows of the answer.

    :param get: the row of a key as all earlier requests left it, without those whose time is over.
    :param at_ms: append time of the request, never earlier than that of an earlier request.
    :param owns: whether an account belongs to this partition.
    """
    at = _At(at_ms, offset)
    wrong = _invalid(get, request, owns)
    if wrong is not None:
        return _plain(request, "invalid", at, wrong)
    if request.op == "set-cap" and request.window is not None:
        return _set_cap(get, CapKey(request.account, request.scope, request.window), request, at)
    key = HoldKey(request.account, request.request_id)
    hold = get(key)
    if request.op == "reserve":
        return _repeated(request, hold, at) if isinstance(hold, HoldRow) else _reserve(get, request, at)
    if isinstance(hold, HoldRow):
        return _move(hold, request, at)
    if request.op == "release":  # the id is closed, so that a reserve which lands later holds no money
        return _plain(request, "released", at, "no reservation had this id yet")
    return _plain(request, "unchanged", at, "no reservation has this id")


def undecodable(account: str, reason: str, *, at_ms: int, offset: int) -> CostDecision:
    """The answer to bytes that are no request: nobody waits for it, but every offset is decided."""
    return CostDecision(
        request_id="",
        op="reserve",
        outcome="invalid",
        account=_shown(account),
        scope="",
        reason=_shown(reason),
        request_offset=offset,
        decided_at=from_millis(at_ms),
    )


def _invalid(get: Get, request: CostRequest, owns: Owns) -> str | None:
    """Why a request cannot be decided at all; its id stays free."""
    texts = (request.share_id, request.model, request.work_key, request.requested_by)
    names = (request.request_id, request.account, request.scope)
    for_all = request.op == "set-cap" and request.account == DEFAULT_ACCOUNT
    if any(not name or "|" in name or len(name) > MAX_TEXT or not name.isprintable() for name in names):
        return f"request id, account and scope are 1 to {MAX_TEXT} printable characters without |"
    if any(text is not None and (len(text) > MAX_TEXT or not text.isprintable()) for text in texts):
        return f"share, model, work key and requester are at most {MAX_TEXT} printable characters"
    if not for_all and not owns(request.account):
        return "the account belongs to another partition: the partitioner has to be murmur2"
    if not 0 <= request.amount_micro_usd <= LARGEST or not 0 <= (request.cap_micro_usd or 0) <= LARGEST:
        return f"amounts are 0 to {LARGEST} micro-US-dollars"
    if request.op == "set-cap":
        return _invalid_set_cap(request)
    return _invalid_reserve(get, request) if request.op == "reserve" else None


def _invalid_set_cap(request: CostRequest) -> str | None:
    if request.window is None:
        return "a cap needs its window: hour or day"
    if request.request_id.startswith(FILED) and request.requested_by != BUDGETS_FILE:
        return f"request ids that begin with {FILED} are the budgets file's"
    return None


def _invalid_reserve(get: Get, request: CostRequest) -> str | None:
    if request.scope == TOTAL:
        return "money is reserved in a stage's scope, never in total"
    if not 0 < request.hold_ms <= MAX_HOLD_MS:
        return f"a hold lives 1 to {MAX_HOLD_MS} ms"
    if request.amount_micro_usd > 0 and get(LAST_CAP_AT_START) is None:
        return NO_CAPS_YET
    return None


class _Refused(NamedTuple):
    """A cap without room; `room_at` None: it will never have room for this amount."""

    name: str
    left: int
    cap: int
    room_at: int | None


def _refusals(get: Get, request: CostRequest, at: _At) -> list[tuple[_Refused, CapRow]]:
    """Caps that the amount would exceed, the one that refuses for longest first."""
    found: list[tuple[_Refused, CapRow]] = []
    account, amount = request.account, request.amount_micro_usd
    for scope in (request.scope, TOTAL):
        for window in WINDOWS:
            row = get(CapKey(account, scope, window)) or get(CapKey(DEFAULT_ACCOUNT, scope, window))
            if not isinstance(row, CapRow) or row.cap is None:
                continue
            sums = get(WindowKey(account, scope, window, start_of(window, at.ms)))
            used = sums.used if isinstance(sums, WindowRow) else 0
            if used + amount > row.cap:
                room_at = next_start(window, at.ms) if amount <= row.cap else None
                found.append((_Refused(f"{window}:{scope}", max(0, row.cap - used), row.cap, room_at), row))
    return sorted(found, key=lambda pair: -(pair[0].room_at or 2**63))


def _reserve(get: Get, request: CostRequest, at: _At) -> CostDecision:
    exceeded = _refusals(get, request, at) if request.amount_micro_usd else []
    enforced = [refused for refused, cap in exceeded if cap.mode == "enforce"]
    refused = enforced[0] if enforced else None
    warning = f"above the cap {exceeded[0][0].name}, which only warns" if exceeded and refused is None else None
    return CostDecision(
        request_id=request.request_id,
        op="reserve",
        outcome="denied" if refused else "granted",
        account=request.account,
        scope=request.scope,
        amount_micro_usd=request.amount_micro_usd,
        hour_start=from_millis(start_of("hour", at.ms)),
        day_start=from_millis(start_of("day", at.ms)),
        denied_by=refused.name if refused else None,
        left_micro_usd=MicroUSD(refused.left) if refused else None,
        cap_micro_usd=MicroUSD(refused.cap) if refused else None,
        room_at=None if refused is None or refused.room_at is None else from_millis(refused.room_at),
        expires_at=None if refused else from_millis(at.ms + request.hold_ms),
        share_id=request.share_id,
        model=request.model,
        work_key=request.work_key,
        reason=warning,
        request_offset=at.offset,
        decided_at=from_millis(at.ms),
    )


def _repeated(request: CostRequest, hold: HoldRow, at: _At) -> CostDecision:
    """The same answer as the first time, whatever the repeat asks for."""
    outcome: CostOutcome = "denied" if hold.state == "denied" else "granted"
    return _about(request, hold._replace(actual=0, overrun=0), outcome, at)


_MOVES: Final[dict[str, tuple[frozenset[HoldState], HoldState, CostOutcome]]] = {
    # A late settle counts, and so does one after a release: what a provider billed was spent.
    "settle": (frozenset({"held", "unconfirmed", "released"}), "settled", "settled"),
    "reconcile": (frozenset({"unconfirmed"}), "settled", "reconciled"),
    "release": (frozenset({"held", "unconfirmed"}), "released", "released"),
    "unknown": (frozenset({"held"}), "unconfirmed", "unconfirmed"),
    "expire": (frozenset({"held"}), "unconfirmed", "unconfirmed"),
}
"""By op: the states it moves a hold from, the one it moves it to, and the outcome."""


def _move(hold: HoldRow, request: CostRequest, at: _At) -> CostDecision:
    sources, target, outcome = _MOVES[request.op]
    if hold.state == target:
        return _about(request, hold, outcome, at)
    if hold.state not in sources:
        return _about(request, hold, "unchanged", at, f"the reservation is already {hold.state}")
    if request.op == "expire" and at.ms < hold.expires_at:
        return _about(request, hold, "unchanged", at, "the hold has not run out yet")
    if target == "settled":
        covered = 0 if hold.state == "released" else hold.amount
        actual = request.amount_micro_usd
        hold = hold._replace(actual=actual, overrun=max(0, actual - covered))
    return _about(request, hold, outcome, at)


def _set_cap(get: Get, key: CapKey, request: CostRequest, at: _At) -> CostDecision:
    old = get(key)
    unchanged = isinstance(old, CapRow) and old.set_by == request.request_id
    return _plain(request, "unchanged" if unchanged else "cap-changed", at).model_copy(
        update={"window": key.window, "cap_micro_usd": request.cap_micro_usd, "mode": request.mode or "enforce"}
    )


def _shown(text: str) -> str:
    """Text that every reader of a decision can store: no control characters, and not too much of it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:MAX_TEXT])


def _plain(request: CostRequest, outcome: CostOutcome, at: _At, reason: str | None = None) -> CostDecision:
    """An answer that is not about a hold."""
    return CostDecision(
        request_id=_shown(request.request_id),
        op=request.op,
        outcome=outcome,
        account=_shown(request.account),
        scope=_shown(request.scope),
        reason=reason,
        request_offset=at.offset,
        decided_at=from_millis(at.ms),
    )


def _about(
    request: CostRequest, hold: HoldRow, outcome: CostOutcome, at: _At, reason: str | None = None
) -> CostDecision:
    """An answer about a reservation that is known; `hold.state` is its state before."""
    return CostDecision(
        request_id=request.request_id,
        op=request.op,
        outcome=outcome,
        account=request.account,
        scope=hold.scope,
        amount_micro_usd=MicroUSD(hold.amount),
        actual_micro_usd=MicroUSD(hold.actual),
        overrun_micro_usd=MicroUSD(hold.overrun),
        previous=hold.state,
        hour_start=from_millis(hold.hour),
        day_start=from_millis(hold.day),
        denied_by=hold.denied_by,
        left_micro_usd=None if hold.left is None else MicroUSD(hold.left),
        cap_micro_usd=None if hold.cap is None else MicroUSD(hold.cap),
        room_at=None if hold.room_at is None else from_millis(hold.room_at),
        expires_at=from_millis(hold.expires_at) if outcome == "granted" else None,
        share_id=hold.share_id,
        model=hold.model,
        work_key=hold.work_key,
        reason=reason or hold.reason,
        request_offset=at.offset,
        decided_at=from_millis(at.ms),
    )
