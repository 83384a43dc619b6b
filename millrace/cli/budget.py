"""`millrace budget`: what was spent, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from millrace.cli.alerts import forecasts, show_alerts
from millrace.cli.books import audit, rebuild
from millrace.cli.caps import an_account, reconcile, set_caps, show_unconfirmed
from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import compact, plain, print_json, show
from millrace.cli.exits import one_sentence
from millrace.contracts.budget_api import BudgetAnswer, BudgetRow
from millrace.contracts.events import DEFAULT_ACCOUNT
from millrace.money import MicroUSD, format_usd

budget_app = typer.Typer(no_args_is_help=True, help="Money: what was spent, held and left.")
budget_app.command("set")(set_caps)
budget_app.command("unconfirmed")(show_unconfirmed)
budget_app.command("reconcile")(reconcile)
budget_app.command("alerts")(show_alerts)
budget_app.command("audit")(audit)
budget_app.command("rebuild")(rebuild)


@budget_app.callback()
def budget() -> None:
    """Money: what was spent, held and left."""


@budget_app.command("show")
def show_budget(
    account: Annotated[str, typer.Option(callback=an_account, help="Whose")] = DEFAULT_ACCOUNT,
    gateway: GatewayOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Spend of this hour and this day against the caps, per scope."""
    with one_sentence(), connect(gateway) as client:
        answer = client.budget(account=account)
    if as_json:
        print_json(answer)
    else:
        show(budget_report(answer))


def budget_report(answer: BudgetAnswer) -> Group:
    """One line per scope and window; scopes without a cap and without spend are left out."""
    title = f"Budget of account {answer.account}, {answer.as_of:%Y-%m-%d %H:%M} UTC"
    parts: list[RenderableType] = [Text.assemble(plain(title), style="bold")]
    if answer.note:
        parts.append(plain(answer.note))
    rows = [row for row in answer.rows if row.cap_micro_usd is not None or _used(row)]
    unconfirmed = any(row.unconfirmed_micro_usd for row in rows)
    overrun = any(row.overrun_micro_usd for row in rows)
    warns = any(row.mode == "warn" for row in rows)
    amounts = (
        "spent",
        "held",
        *(("unconfirmed",) if unconfirmed else ()),
        *(("overrun",) if overrun else ()),
        "cap",
        "left",
    )
    table = compact("scope", "window", *amounts, *(("mode",) if warns else ()), right=amounts)
    for before, row in zip([None, *rows], rows, strict=False):
        scope = "" if before is not None and before.scope == row.scope else row.scope
        mode = ("warn" if row.mode == "warn" else "",) if warns else ()
        table.add_row(
            plain(scope), f"this {row.window}", *_amounts(row, unconfirmed=unconfirmed, overrun=overrun), *mode
        )
    return Group(*parts, table, *forecasts(rows))


def _amounts(row: BudgetRow, *, unconfirmed: bool, overrun: bool) -> Sequence[str]:
    return (
        format_usd(row.settled_micro_usd),
        format_usd(row.held_micro_usd),
        *((format_usd(row.unconfirmed_micro_usd),) if unconfirmed else ()),
        *((format_usd(row.overrun_micro_usd),) if overrun else ()),
        _or_none(row.cap_micro_usd),
        _or_none(row.left_micro_usd),
    )


def _used(row: BudgetRow) -> bool:
    return any((row.settled_micro_usd, row.held_micro_usd, row.unconfirmed_micro_usd))


def _or_none(amount: MicroUSD | None) -> str:
    return "none" if amount is None else format_usd(amount)
