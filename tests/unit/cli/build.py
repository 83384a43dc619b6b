"""Answers of a gateway, made for tests of commands."""

from __future__ import annotations

from datetime import UTC, datetime

from millrace.contracts.budget_api import BudgetRow
from millrace.contracts.events import StageName, TaskState
from millrace.contracts.search_api import SearchHit
from millrace.contracts.share_api import Receipt, ShareState, ShareView, StageView
from millrace.money import ZERO, MicroUSD

NOW = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
ID = "02f3e974-7297-4c94-bfa3-f5d416014767"


def stage(name: StageName, state: TaskState = "done", **fields: object) -> StageView:
    return StageView.model_validate({"stage": name, "state": state, "updated_at": NOW, **fields})


def receipt(name: StageName, state: str = "settled", *, reused: bool = False) -> Receipt:
    return Receipt(
        stage=name,
        model=f"model-of-{name}",
        call_no=0,
        attempt=1,
        state=state,
        hold_micro_usd=MicroUSD(2_000),
        actual_micro_usd=MicroUSD(1_500) if state == "settled" else None,
        reused=reused,
        request_id="r",
        asked_at=NOW,
    )


def share(
    *stages: StageView, receipts: list[Receipt] | None = None, state: ShareState = "done", **fields: object
) -> ShareView:
    return ShareView.model_validate(
        {
            "share_id": ID,
            "account": "default",
            "owner": "local",
            "source_kind": "upload",
            "platform": "upload",
            "content_type": "video",
            "title": "A talk",
            "created_at": NOW,
            "state": state,
            "stages": stages,
            "receipts": receipts or [],
            **fields,
        }
    )


def hit(share_id: str, text: str, start_ms: int | None = None) -> SearchHit:
    return SearchHit(share_id=share_id, text=text, start_ms=start_ms, score=1.0, matched_by=["semantic"])


def budget_row(
    scope: str, *, cap: int | None, settled: int = 0, unconfirmed: int = 0, exhausted_at: datetime | None = None
) -> BudgetRow:
    return BudgetRow(
        account="default",
        scope=scope,
        window="hour",
        start=NOW,
        settled_micro_usd=MicroUSD(settled),
        held_micro_usd=ZERO,
        unconfirmed_micro_usd=MicroUSD(unconfirmed),
        overrun_micro_usd=ZERO,
        cap_micro_usd=None if cap is None else MicroUSD(cap),
        left_micro_usd=None if cap is None else MicroUSD(cap - settled - unconfirmed),
        calls=1,
        exhausted_at=exhausted_at,
    )
