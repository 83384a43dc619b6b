"""`millrace costs`: what transcription, language models and vectors have cost."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import compact, plain, print_json, show
from millrace.cli.exits import one_sentence
from millrace.contracts.analytics_api import CostsAnswer, GroupBy, Kind, WindowName
from millrace.contracts.api import Answer
from millrace.money import MicroUSD, format_usd

_KINDS: tuple[Kind, ...] = ("transcription", "llm", "vector")
_BARS = " ▁▂▃▄▅▆▇█"


class AllCosts(Answer):
    """Costs of every kind over the same window."""

    costs: list[CostsAnswer]


def costs(
    window: Annotated[WindowName, typer.Option(help="Whole hours or days (UTC), the present one too")] = "24h",
    group_by: Annotated[GroupBy, typer.Option("--group-by", help="What a line is about")] = "model",
    account: Annotated[str | None, typer.Option(help="Of this account alone")] = None,
    gateway: GatewayOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Costs of transcription, language models and vectors; for admins."""
    with one_sentence(), connect(gateway) as client:
        found = AllCosts(
            costs=[
                client.get(
                    f"/api/ml/analytics/{kind}/costs", CostsAnswer, window=window, group_by=group_by, account=account
                )
                for kind in _KINDS
            ]
        )
    if as_json:
        print_json(found)
    else:
        show(costs_report(found.costs))


def costs_report(found: list[CostsAnswer]) -> Group:
    """A line for each kind that cost something, with its course over the window, and one for each of its groups."""
    first = found[0]
    whose = f" of account {first.account}" if first.account else ""
    title = f"Costs{whose}, {first.since:%Y-%m-%d %H:%M} to {first.until:%Y-%m-%d %H:%M} UTC"
    table = compact("", first.group_by, "spent", "held", "unconfirmed", "calls", "", right=("spent", "held", "calls"))
    for answer in found:
        totals = answer.totals
        table.add_row(
            answer.kind,
            "",
            format_usd(totals.settled_micro_usd),
            format_usd(totals.held_micro_usd),
            format_usd(totals.unconfirmed_micro_usd),
            str(totals.calls),
            course([bucket.settled_micro_usd for bucket in answer.series]),
        )
        for group in answer.groups:
            table.add_row(
                "",
                plain(group.key or "not known"),
                format_usd(group.settled_micro_usd),
                format_usd(group.held_micro_usd),
                format_usd(group.unconfirmed_micro_usd),
                str(group.calls),
                f"{group.percent} %",
            )
    spent = MicroUSD(sum(answer.totals.settled_micro_usd for answer in found))
    parts: list[RenderableType] = [Text.assemble(plain(title), style="bold"), table, f"in all {format_usd(spent)}"]
    return Group(*parts)


def course(amounts: list[MicroUSD]) -> str:
    """Amounts as bars of eight heights, blank where nothing was spent; a spent micro-dollar is seen.

    >>> course([MicroUSD(0), MicroUSD(1), MicroUSD(8)])
    ' ▁█'
    """
    most = max(amounts, default=0)
    return "".join(_BARS[-(-8 * max(0, amount) // most)] if most > 0 else " " for amount in amounts)
