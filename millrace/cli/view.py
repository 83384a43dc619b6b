"""How a share reads in a terminal. Pure: values in, renderables out."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from millrace.cli.console import moment, plain
from millrace.contracts.api import Receipt, ShareView, StageView
from millrace.money import format_usd

_BAR = 20


def share_report(view: ShareView) -> Group:
    """Everything about a share: stages, transcript with timestamps, summary, receipts."""
    parts: list[RenderableType] = [plain(f"{view.title or 'Share'} {view.share_id}: {view.state}"), stage_table(view)]
    if view.transcript is not None:
        parts += [Text("Transcript", style="bold"), _transcript(view)]
    if view.summary is not None:
        label = f"Summary ({view.summary.backend}, {view.summary.model})"
        parts += [plain(label), plain(view.summary.summary or f"none: {view.summary.skipped_reason}")]
    if view.receipts:
        parts.append(receipt_table(view.receipts))
    return Group(*parts)


def stage_table(view: ShareView) -> Table:
    """One line per stage, with progress while it runs and the reason when it does not."""
    table = Table("stage", "state", "", "cost", show_edge=False)
    for stage in view.stages:
        table.add_row(stage.stage, _state(stage), plain(_remark(stage)), format_usd(stage.cost_micro_usd))
    return table


def _state(stage: StageView) -> str:
    if stage.state != "running" or stage.progress is None:
        return stage.state
    filled = round(stage.progress * _BAR)
    return f"{'█' * filled}{'░' * (_BAR - filled)} {stage.progress:4.0%}"


def _remark(stage: StageView) -> str:
    reason = stage.reason or ""
    if stage.state == "waiting" and stage.resume_at is not None:
        return f"{reason} (goes on at {stage.resume_at:%H:%M:%S} UTC)"
    return reason


def _transcript(view: ShareView) -> RenderableType:
    transcript = view.transcript
    if transcript is None or transcript.skipped_reason:
        return plain(f"none: {transcript.skipped_reason if transcript else 'not yet'}")
    if not transcript.segments:
        return plain(transcript.text)
    lines = Table.grid(padding=(0, 2))
    for segment in transcript.segments:
        lines.add_row(f"{moment(segment.start_ms)} - {moment(segment.end_ms)}", plain(segment.text.strip()))
    return lines


def receipt_table(receipts: list[Receipt]) -> Table:
    """What every call held and cost."""
    table = Table("stage", "model", "held", "cost", "state", title="Receipts", title_justify="left")
    for receipt in receipts:
        actual = "" if receipt.actual_micro_usd is None else format_usd(receipt.actual_micro_usd)
        state = f"{receipt.state} (for an earlier share)" if receipt.reused else receipt.state
        table.add_row(receipt.stage, plain(receipt.model), format_usd(receipt.hold_micro_usd), actual, plain(state))
    return table
