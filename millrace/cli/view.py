"""How a share reads in a terminal. Pure: values in, renderables and lines out."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from millrace.cli.console import compact, moment, plain
from millrace.contracts.share_api import CancelAnswer, QualityView, Receipt, SharesAnswer, ShareView, StageView
from millrace.money import format_usd

_BAR = 20
_ENDED = frozenset({"done", "skipped", "failed", "cancelled"})
_REUSED = "reused: granted and settled for an earlier share of the same content; no model was called for this one"


def share_report(view: ShareView) -> Group:
    """Everything about a share: stages, transcript with timestamps, summary, what the ledger granted."""
    title = f"{view.title or view.filename or view.url or 'Share'}  {view.state}"
    parts: list[RenderableType] = [Text.assemble(plain(title), style="bold"), plain(f"id {view.share_id}")]
    parts += ["", stage_table(view)]
    if view.transcript is not None:
        parts += _section(f"Transcript ({view.transcript.model})", _transcript(view))
    if view.summary is not None:
        text = view.summary.summary or _none(view.summary.skipped_reason)
        parts += _section(f"Summary ({view.summary.model})", plain(text))
    if view.quality is not None:
        parts += _section("Quality", plain(_quality(view.quality)))
    parts += _section("Ledger", ledger_table(view))
    parts += _receipt_reasons(view)
    if any(receipt.reused for receipt in view.receipts):
        parts.append(Text(_REUSED, style="dim"))
    return Group(*parts)


def stage_table(view: ShareView) -> Table:
    """One line per stage, with progress while it runs and the reason when it does not."""
    table = compact("stage", "state", "")
    for stage in view.stages:
        table.add_row(stage.stage, _state(stage), plain(_remark(stage)))
    return table


def ledger_table(view: ShareView) -> Table:
    """One line per call that the ledger was asked for, in the order of the stages; stages without one say so."""
    table = compact("stage", "model", "held", "cost", "state", right=("held", "cost"))
    for stage in view.stages:
        receipts = [receipt for receipt in view.receipts if receipt.stage == stage.stage]
        for receipt in receipts:
            actual = "" if receipt.actual_micro_usd is None else format_usd(receipt.actual_micro_usd)
            held = format_usd(receipt.hold_micro_usd)
            table.add_row(receipt.stage, plain(receipt.model), held, actual, _receipt_state(receipt))
        if not receipts and stage.state in _ENDED:
            table.add_row(stage.stage, "no model called", "", format_usd(stage.cost_micro_usd), "nothing to grant")
    return table


def cancel_report(answer: CancelAnswer) -> Table:
    """One line per stage: what a cancel has come to."""
    says = {
        "cancelled": "cancelled",
        "stopping": "still being stopped: a call that is paid for ends first",
        "over": "had ended before",
    }
    table = compact("stage", "state", "")
    for stage in answer.stages:
        table.add_row(stage.stage, stage.state, "" if stage.state == stage.outcome else says[stage.outcome])
    return table


def shares_report(answer: SharesAnswer) -> Group:
    """One line a share, newest first."""
    if not answer.shares and answer.next is None:
        return Group(Text("No shares."))
    table = compact("shared (UTC)", "state", "kind", "cost", "id", "title", right=("cost",))
    for share in answer.shares:
        table.add_row(
            f"{share.created_at:%Y-%m-%d %H:%M}",
            share.state,
            share.source_kind,
            format_usd(share.cost_micro_usd),
            plain(share.share_id),
            plain((share.title or share.filename or share.url or "").replace("\n", " ")),
        )
    more = [] if answer.next is None else [plain(f"There are older ones: --cursor {answer.next}")]
    return Group(table, *more)


def moves(before: ShareView | None, after: ShareView) -> list[str]:
    """A line for every stage whose state changed between two looks at a share: progress for a log."""
    known = {} if before is None else {stage.stage: stage.state for stage in before.stages}
    return [
        " ".join(filter(None, (f"{stage.stage}: {stage.state}", _remark(stage))))
        for stage in after.stages
        if stage.state != known.get(stage.stage, "queued")
    ]


def _section(title: str, content: RenderableType) -> list[RenderableType]:
    return ["", Text.assemble(plain(title), style="bold"), content]


def _state(stage: StageView) -> str:
    if stage.state != "running" or stage.progress is None:
        return stage.state
    filled = round(stage.progress * _BAR)
    return f"{'█' * filled}{'░' * (_BAR - filled)} {stage.progress:4.0%}"


def _remark(stage: StageView) -> str:
    reason = stage.reason or ""
    if stage.state == "waiting" and stage.resume_at is not None:
        return f"{reason} (goes on at {stage.resume_at:%H:%M:%S} UTC)".strip()
    return reason


def _receipt_state(receipt: Receipt) -> str:
    with_others = f", with {receipt.works - 1} others" if receipt.works > 1 else ""
    if not receipt.reused:
        return f"{receipt.state}{with_others}"
    return "reused" if receipt.state == "settled" else f"{receipt.state}, reused"


def _receipt_reasons(view: ShareView) -> list[RenderableType]:
    """Why calls were refused or ended without an answer, and which caps they were above; each reason once a stage."""
    lines = (f"{receipt.stage}: {receipt.reason}" for receipt in view.receipts if receipt.reason)
    return [plain(line) for line in dict.fromkeys(lines)]


def _quality(quality: QualityView) -> str:
    """Its score, who says so, and of a rule what is worst."""
    if quality.by == "model" or not quality.parts:
        return f"{quality.score:.2f} (by {quality.by})"
    worst = min(quality.parts, key=lambda name: quality.parts[name])
    return f"{quality.score:.2f} (by rule; least of all {worst}: {quality.parts[worst]:.2f})"


def _none(reason: str | None) -> str:
    """Why there is no result; reasons such as `too-short` are words of the API."""
    return f"none: {(reason or 'no reason given').replace('-', ' ')}"


def _transcript(view: ShareView) -> RenderableType:
    transcript = view.transcript
    if transcript is None or transcript.skipped_reason:
        return plain(_none(transcript.skipped_reason if transcript else "not yet"))
    if not transcript.segments:
        return plain(transcript.text)
    lines = Table.grid(padding=(0, 2))
    for segment in transcript.segments:
        lines.add_row(f"{moment(segment.start_ms)} - {moment(segment.end_ms)}", plain(segment.text.strip()))
    return lines
