"""`millrace replay`: let a stage work on old events again. The stage's own program does it, in this one's place."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NoReturn, get_args

import typer
from pydantic import AwareDatetime, BaseModel
from rich.console import Group
from rich.text import Text

from millrace.cli.books import addresses
from millrace.cli.console import compact, plain, print_json, show
from millrace.cli.exits import one_sentence
from millrace.cli.names import a_stage
from millrace.contracts.catalog import Catalog
from millrace.contracts.events import StageName
from millrace.embedded.paths import StackPaths, default_data
from millrace.embedded.services import isolation
from millrace.errors import ConfigurationError
from millrace.models.port import Backend
from millrace.store.database import Database
from millrace.store.pool import open_pool
from millrace.store.replays import ReplayRow, ReplayStore
from millrace.stream.replay.options import RATE, ReplayOptions, written

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]
_LISTED = 20


class ReplayView(BaseModel):
    """How far a replay is: `state` of the publishing (running, stopped, done), `jobs` that its commands reached."""

    replay_id: str
    stage: StageName
    state: str
    options: dict[str, str]
    commands: int
    published: int
    jobs: dict[str, int]
    created_at: AwareDatetime | None


class Replays(BaseModel):
    """The latest replays, newest first."""

    replays: list[ReplayView]


def replay(
    stage: Annotated[
        StageName | None, typer.Argument(callback=a_stage, help="The stage that shall work again")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="Only events since then: 2026-11-27T14:30 (UTC), or 24h ago")
    ] = None,
    offsets: Annotated[
        list[str] | None,
        typer.Option(metavar="TOPIC:PARTITION:FROM-TO", help="Only these events; may be repeated"),
    ] = None,
    share: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this share; may be repeated")] = None,
    force: Annotated[bool, typer.Option("--force", help="Do finished work again, and pay for it")] = False,
    model: Annotated[str | None, typer.Option(help="Use this model instead of the stage's own")] = None,
    backend: Annotated[
        str | None, typer.Option(metavar="api|local", help="Ask an API, or a model of the agent's own machine")
    ] = None,
    chunker: Annotated[
        str | None, typer.Option(help="Of embed: cut texts by this chunker (none, paragraph, sentence, fixed, auto)")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done and may be paid")] = False,
    rate: Annotated[float, typer.Option(min=0.1, help="Most commands a second")] = RATE,
    resume: Annotated[str | None, typer.Option(metavar="REPLAY", help="Go on with a replay that was stopped")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the latest replays and what came of them")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let a stage work on the kept events of shares again: all of them, or those that the options choose.

    What is done already costs nothing and is only told again. Stop it with Ctrl-C, go on with --resume.
    """
    with one_sentence():
        environment = replay_environment(os.environ)
        if list_:
            _list(environment["MILLRACE_POSTGRES"], as_json=as_json)
            return
        chosen = _stage(stage, resume)
        if chunker is not None and chosen != "embed":
            raise ConfigurationError(f"The stage {chosen} cuts no texts: --chunker is for embed.")
        if backend not in (None, *get_args(Backend)):
            raise ConfigurationError(f"There is no backend {backend}: it is {' or '.join(get_args(Backend))}.")
    more = {"backend": backend, "chunker": chunker}
    options = ReplayOptions(
        since=since,
        offsets=tuple(offsets or ()),
        shares=tuple(share) if share else None,
        force=force,
        model=model,
        more={name: value for name, value in more.items() if value is not None},
        dry_run=dry_run,
        rate=rate,
        resume=resume,
        as_json=as_json,
    )
    begin(chosen, options, environment)


def begin(stage: StageName, options: ReplayOptions, environment: Mapping[str, str]) -> NoReturn:
    """Become the stage's own program.

    :raises typer.BadParameter: the options are more than a command line holds.
    """
    # In this process's place: its signals, its progress and its status are the command's.
    try:
        os.execve(sys.executable, program(stage, options), environment)  # noqa: S606 - no shell is wanted
    except OSError as exc:
        if exc.errno != errno.E2BIG:
            raise
        raise typer.BadParameter("these are more than fit on a command line: replay fewer at a time.") from exc


def program(stage: StageName, options: ReplayOptions) -> list[str]:
    """The command line of the stage's own program."""
    module = Catalog.load().stages[stage].module
    return [sys.executable, *isolation(Path.cwd()), "-m", module, "replay", written(options)]


def replay_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Where everything is; nothing in the media store is read, but an agent's settings name one."""
    return {"MILLRACE_BLOBS": str(StackPaths(default_data()).blobs), **addresses(environment)}


def _stage(stage: StageName | None, resume: str | None) -> StageName:
    named = stage or "" if resume is None else resume.rpartition("-")[0]
    stages = Catalog.load().stages
    if named in stages:
        return named
    if resume is not None:
        raise ConfigurationError(f"There is no replay {resume}: `millrace replay --list` shows those there are.")
    raise ConfigurationError(f"Name the stage that shall work again: {', '.join(stages)}.")


def _list(dsn: str, *, as_json: bool) -> None:
    found = asyncio.run(_read(dsn))
    if as_json:
        print_json(found)
    else:
        show(listing(found))


async def _read(dsn: str) -> Replays:
    async with open_pool(dsn, size=1) as pool:
        store = ReplayStore(Database(pool))
        return Replays(replays=[_view(row, await store.states(row)) for row in await store.newest(_LISTED)])


def _view(row: ReplayRow, jobs: dict[str, int]) -> ReplayView:
    state = "done" if row.finished_at is not None else "running" if row.running else "stopped"
    return ReplayView(
        replay_id=row.replay_id,
        stage=row.stage,
        state=state,
        options=dict(row.options),
        commands=row.commands,
        published=row.published,
        jobs=jobs,
        created_at=row.created_at,
    )


def listing(found: Replays) -> Group:
    """One line a replay."""
    if not found.replays:
        return Group(Text("Nothing was replayed yet."))
    table = compact("begun (UTC)", "replay", "published", "state", "what the stage has done", right=("published",))
    for one in found.replays:
        jobs = ", ".join(f"{count} {state}" for state, count in sorted(one.jobs.items()))
        begun = "" if one.created_at is None else f"{one.created_at:%Y-%m-%d %H:%M}"
        counts = f"{one.published} of {one.commands}"
        table.add_row(begun, plain(one.replay_id), counts, one.state, plain(jobs))
    return Group(table)
