"""`millrace share duplicates`: other shares that say nearly the same."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import compact, plain, print_json, show
from millrace.cli.exits import one_sentence
from millrace.contracts.insight_api import DuplicatesAnswer


def duplicates(
    share_id: Annotated[UUID, typer.Argument(help="Id of the share")],
    *,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Shares at most")] = 20,
    least_jaccard: Annotated[
        float | None, typer.Option(min=0.4, max=1, help="Share of the word pairs that both have, at least")
    ] = None,
    least_cosine: Annotated[
        float | None, typer.Option(min=0, max=1, help="Cosine of the mean vectors, at least")
    ] = None,
    gateway: GatewayOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Other shares that say nearly the same, by their words (jaccard) or by their vectors (cosine)."""
    with one_sentence(), connect(gateway) as client:
        answer = client.duplicates(str(share_id), limit=limit, least_jaccard=least_jaccard, least_cosine=least_cosine)
    if as_json:
        print_json(answer)
    else:
        show(duplicates_report(answer))


def duplicates_report(answer: DuplicatesAnswer) -> Group:
    """A line for each share, most alike first."""
    parts: list[RenderableType] = [] if answer.note is None else [plain(answer.note)]
    if not answer.duplicates:
        return Group(*parts, Text("No share says nearly the same."))
    table = compact("jaccard", "cosine", "share", "", right=("jaccard", "cosine"))
    for one in answer.duplicates:
        name = plain(one.title or one.url or "a share")
        table.add_row(_number(one.jaccard), _number(one.cosine), one.share_id, name)
    return Group(*parts, table)


def _number(alike: float | None) -> str:
    return "" if alike is None else f"{alike:.2f}"
