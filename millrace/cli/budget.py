"""`millrace budget`: what was spent, and what is left."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import console, print_json
from millrace.cli.exits import one_sentence
from millrace.contracts.api import BudgetRow
from millrace.money import MicroUSD, format_usd

budget_app = typer.Typer(no_args_is_help=True, help="Money: what was spent, held and left.")


@budget_app.callback()
def budget() -> None:
    """Money: what was spent, held and left."""


@budget_app.command("show")
def show(
    gateway: GatewayOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Spend of this hour and this day against the caps, per scope."""
    with one_sentence(), connect(gateway) as client:
        budget = client.budget()
    if as_json:
        print_json(budget)
    else:
        console.print(table(budget.rows))


def table(rows: list[BudgetRow]) -> Table:
    """One line per scope and window."""
    made = Table("account", "scope", "window", title="Budget (UTC)", title_justify="left")
    for name in ("settled", "held", "unconfirmed", "cap", "left"):
        made.add_column(name, justify="right")
    for row in rows:
        amounts = (row.settled_micro_usd, row.held_micro_usd, row.unconfirmed_micro_usd)
        made.add_row(
            row.account,
            row.scope,
            f"{row.window} from {row.start:%Y-%m-%d %H:%M}",
            *(format_usd(amount) for amount in amounts),
            _or_none(row.cap_micro_usd),
            _or_none(row.left_micro_usd),
        )
    return made


def _or_none(amount: MicroUSD | None) -> str:
    return "none" if amount is None else format_usd(amount)
