"""The opening of a day: caps and open holds as decisions, so that a rebuild can start at any day. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from millrace.clock import from_millis
from millrace.contracts.events import DEFAULT_ACCOUNT, CostDecision
from millrace.money import MicroUSD
from services.cost_ledger.evolve import FILED
from services.cost_ledger.rows import TOTAL, CapKey, CapRow, HoldKey, HoldRow


def open_day(
    caps: Mapping[CapKey, CapRow], holds: Mapping[HoldKey, HoldRow], *, account: str, at_ms: int, offset: int
) -> list[CostDecision]:
    """What the first request of a UTC day finds, in front of its own answer and with its offset."""
    now = from_millis(at_ms)
    opening = CostDecision(
        request_id=f"day:{now:%Y-%m-%d}",
        op="set-cap",
        outcome="day-opened",
        account=account or DEFAULT_ACCOUNT,
        scope=TOTAL,
        reason=f"{len(caps)} caps and {len(holds)} open holds follow",
        request_offset=offset,
        decided_at=now,
    )
    # Sorted, because the order in which a process came to know its rows is not the log's.
    return [
        opening,
        *(said for key, row in sorted(caps.items()) for said in _cap_in_force(opening, key, row)),
        *(_open_hold(opening, key, row) for key, row in sorted(holds.items())),
    ]


def _cap_in_force(opening: CostDecision, key: CapKey, row: CapRow) -> Iterator[CostDecision]:
    """What the budgets file said last, where it is not what is in force, and then that."""
    about = opening.model_copy(
        update={"account": key.account, "scope": key.scope, "window": key.window, "reason": None}
    )
    if row.filed_mode is not None and not row.set_by.startswith(FILED):
        yield about.model_copy(
            update={"request_id": f"{FILED}last", "cap_micro_usd": row.filed, "mode": row.filed_mode}
        )
    yield about.model_copy(update={"request_id": row.set_by, "cap_micro_usd": row.cap, "mode": row.mode})


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
            "reason": row.reason,
        }
    )
