"""`millrace search`: find where something was said or written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import moment, plain, print_json, show
from millrace.cli.exits import one_sentence
from millrace.cli.since import HELP, since_option
from millrace.contracts.events import SourceKind
from millrace.contracts.search_api import SearchAnswer, SearchHit, SearchMode
from millrace.contracts.share_api import ContentType


def search(
    query: Annotated[str, typer.Argument(help="Words, or a question")] = "",
    *,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Hits at most")] = 10,
    mode: Annotated[SearchMode, typer.Option(help="By meaning, by words, or both")] = "hybrid",
    kind: Annotated[SourceKind | None, typer.Option(help="Only what was shared as this")] = None,
    content_type: Annotated[ContentType | None, typer.Option("--type", help="Only this type of content")] = None,
    since: Annotated[str | None, typer.Option(help=f"Only what was shared from then on: {HELP}")] = None,
    until: Annotated[str | None, typer.Option(help=f"Only what was shared before: {HELP}")] = None,
    language: Annotated[str | None, typer.Option(help="Only in this language: en, de")] = None,
    category: Annotated[str | None, typer.Option(help="Only with this category")] = None,
    share: Annotated[str | None, typer.Option(help="Only in this share")] = None,
    least_quality: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only shares of this quality or better, 0 to 1")
    ] = None,
    like: Annotated[str | None, typer.Option(help="Instead of a query: shares about the same as this one")] = None,
    gateway: GatewayOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Search all shares by meaning and by words.

    Hits in media tell their moment.
    """
    if bool(query.strip()) == (like is not None):
        raise typer.BadParameter("give at least one word to search for, or a share with --like.")
    filters: dict[str, str | None] = {
        "kind": kind,
        "content_type": content_type,
        "since": since_option(since),
        "until": since_option(until),
        "language": language,
        "category": category,
        "share": share,
        "least_quality": None if least_quality is None else str(least_quality),
    }
    with one_sentence(), connect(gateway) as client:
        if like is None:
            answer = client.search(query, limit=limit, mode=mode, **filters)
        else:
            answer = client.similar(like, limit=limit, **filters)
    if as_json:
        print_json(answer)
    else:
        show(hits(answer))


def hits(answer: SearchAnswer) -> Group:
    """Passages, best first, each with its moment and below it the shares that it is in."""
    title = Text.assemble("Search: ", plain(answer.query)) if answer.query else Text("About the same")
    title.stylize("bold")
    parts: list[RenderableType] = [title]
    if answer.note:
        parts.append(plain(answer.note))
    if not answer.hits:
        parts.append(Text("Nothing found."))
    table = Table.grid(padding=(0, 2))
    for same in passages(answer.hits):
        table.add_row(moment(same[0].start_ms), _lit(same[0]))
        for hit in same:
            table.add_row("", Text.assemble("in ", plain(hit.title or "a share"), f"  {hit.share_id}", style="dim"))
    return Group(*parts, table)


def _lit(hit: SearchHit) -> Text:
    text = plain(hit.text)
    for start, end in hit.highlights:
        text.stylize("bold", start, end)
    return text


def passages(found: Sequence[SearchHit]) -> list[list[SearchHit]]:
    """Hits by passage: the same words at the same moment, shared several times, are read once."""
    groups: dict[tuple[str, int | None], list[SearchHit]] = {}
    for hit in found:
        groups.setdefault((hit.text, hit.start_ms), []).append(hit)
    return list(groups.values())
