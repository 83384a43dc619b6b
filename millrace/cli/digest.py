"""`millrace digest`: what was shared in a period, by topic."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import plain, print_json, show
from millrace.cli.exits import one_sentence
from millrace.cli.since import HELP, since_option
from millrace.contracts.insight_api import DigestAnswer, DigestShare


def digest(
    since: Annotated[str | None, typer.Option(help=f"Shared from then on, by default a week before: {HELP}")] = None,
    until: Annotated[str | None, typer.Option(help=f"Shared before, by default until now: {HELP}")] = None,
    *,
    limit: Annotated[
        int, typer.Option(min=1, max=2000, help="Shares shown of each topic, and of those in none")
    ] = 10,
    gateway: GatewayOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """What was shared in a period, grouped by topic. Costs nothing."""
    begin, end = since_option(since), since_option(until)
    with one_sentence(), connect(gateway) as client:
        answer = client.digest(since=begin, until=end, limit=limit)
    if as_json:
        print_json(answer)
    else:
        show(digest_report(answer))


def digest_report(answer: DigestAnswer) -> Group:
    """Topics, the largest first, and what belongs to none."""
    begin, end = (f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}" for moment in (answer.since, answer.until))
    parts: list[RenderableType] = [Text(f"Digest: {begin} to {end} UTC, {_shares(answer.count)}", style="bold")]
    if answer.note:
        parts.append(plain(answer.note))
    if not answer.count:
        parts.append(Text("Nothing was shared."))
    for topic in answer.topics:
        parts += _section(f"{topic.label} ({topic.count})", topic.shares, topic.count)
    if answer.others:
        parts += _section(f"By themselves ({answer.others_count})", answer.others, answer.others_count)
    return Group(*parts)


def _section(title: str, shares: Sequence[DigestShare], count: int) -> list[RenderableType]:
    heading = plain(title)
    heading.stylize("bold")
    parts: list[RenderableType] = ["", heading]
    for share in shares:
        line = Text.assemble(plain(share.title or share.url or "a share"), (f"  {share.share_id}", "dim"))
        parts += [Padding(line, (0, 0, 0, 2)), Padding(plain(share.sentence), (0, 0, 0, 4))]
    if count > len(shares):
        parts.append(Padding(Text(f"and {count - len(shares)} more: see --limit", style="dim"), (0, 0, 0, 2)))
    return parts


def _shares(count: int) -> str:
    return "1 share" if count == 1 else f"{count} shares"
