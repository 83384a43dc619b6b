"""`millrace budget alerts`, and the forecasts of `millrace budget show`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import compact, plain, print_json, show
from millrace.cli.exits import one_sentence
from millrace.contracts.budget_api import AlertsAnswer, AlertView, BudgetRow
from millrace.contracts.events import DEFAULT_ACCOUNT
from millrace.money import format_usd


def show_alerts(
    account: Annotated[str, typer.Option("--account", help="Who pays")] = DEFAULT_ACCOUNT,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most")] = 50,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on where an earlier list ended")] = None,
    gateway: GatewayOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Alerts about budgets, newest first."""
    with one_sentence(), connect(gateway) as client:
        answer = client.alerts(account=account, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
    else:
        show(alerts_report(answer))


def alerts_report(answer: AlertsAnswer) -> Group:
    """One line an alert."""
    title = Text.assemble(plain(f"Alerts of account {answer.account}"), style="bold")
    if not answer.alerts:
        return Group(title, plain("None."))
    table = compact("raised (UTC)", "scope", "window", "what")
    for alert in answer.alerts:
        start = f"{alert.start:%H:%M}" if alert.window == "hour" else f"{alert.start:%Y-%m-%d}"
        raised = f"{alert.raised_at:%Y-%m-%d %H:%M}"
        table.add_row(raised, plain(alert.scope), f"{alert.window} of {start}", _what(alert))
    more = [] if answer.next is None else [plain(f"There are older ones: --cursor {answer.next}")]
    return Group(title, table, *more)


def forecasts(rows: Iterable[BudgetRow]) -> Iterator[RenderableType]:
    """A sentence for each budget that will not last until its window ends."""
    for row in rows:
        if row.exhausted_at is not None and row.cap_micro_usd is not None:
            yield plain(
                f"{row.scope}: at this rate used up at {row.exhausted_at:%H:%M} UTC "
                f"({format_usd(row.cap_micro_usd)} for this {row.window})."
            )


def _what(alert: AlertView) -> str:
    used, cap = format_usd(alert.used_micro_usd), format_usd(alert.cap_micro_usd)
    match alert.kind:
        case "threshold":
            return f"{alert.percent} % reached: {used} of {cap}"
        case "overrun":
            return f"a call cost more than its hold: {used} of {cap}"
        case "forecast":
            when = "" if alert.exhausted_at is None else f" at {alert.exhausted_at:%H:%M} UTC"
            return f"used up{when} at this rate: {used} of {cap}"
