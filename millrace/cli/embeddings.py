"""`millrace embeddings`: by which model shares are searched, and changing to another one while everything runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from pydantic import AwareDatetime, BaseModel

from millrace.cli.books import addresses
from millrace.cli.console import compact, plain, print_json, show
from millrace.cli.exits import one_sentence
from millrace.cli.replay import begin, replay_environment
from millrace.money import MicroUSD, format_usd
from millrace.store.database import Database
from millrace.store.pool import open_pool
from millrace.store.search_models import SearchModels, Standing
from millrace.store.version import verify_migrated
from millrace.stream.replay.options import RATE, ReplayOptions

embeddings_app = typer.Typer(
    no_args_is_help=True, help="By which model shares are searched; another one without downtime."
)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]
ModelArgument = Annotated[str, typer.Argument(help="Name of the model, as `millrace embeddings status` shows it")]
T = TypeVar("T")


class ModelView(BaseModel):
    """One model: of how many shares it has vectors, and what it has cost; null where nobody knows the rest."""

    model: str
    shares: int
    searched: int
    cost_micro_usd: MicroUSD
    rest_micro_usd: MicroUSD | None


class EmbeddingsView(BaseModel):
    """How search stands: `search_model` was chosen at `since`; null: each share is searched by its newest model."""

    search_model: str | None
    since: AwareDatetime | None
    shares: int
    models: list[ModelView]


class Dropped(BaseModel):
    """A model whose vectors are gone, and how many shares had them."""

    model: str
    shares: int


@embeddings_app.callback()
def embeddings() -> None:
    """By which model shares are searched."""


@embeddings_app.command("status")
def status(as_json: JsonOption = False) -> None:
    """How far each model has embedded the shares, what that has cost, and what the rest may cost."""
    with one_sentence():
        _print(_asked(lambda models: models.standing()), as_json=as_json)


@embeddings_app.command("switch")
def switch(
    model: ModelArgument,
    force: Annotated[bool, typer.Option("--force", help="Although it has not embedded all shares")] = False,
    as_json: JsonOption = False,
) -> None:
    """Search by this model from now on. Run it with the model before to go back."""
    with one_sentence():
        _print(_asked(lambda models: models.switch(model, force=force)), as_json=as_json)


@embeddings_app.command("reembed")
def reembed(
    model: Annotated[str, typer.Option(help="Name of the model")],
    since: Annotated[str | None, typer.Option(metavar="T", help="Only events since then, as of replay")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done and may be paid")] = False,
    rate: Annotated[float, typer.Option(min=0.1, help="Most commands a second")] = RATE,
    as_json: JsonOption = False,
) -> None:
    """Embed the kept shares by another model beside the one that is searched; a replay of the embed stage.

    Search stays with its model until `millrace embeddings switch`. Stop it with Ctrl-C, and go on with `millrace
    replay --resume`; or run it again, as nothing is embedded twice.
    """
    with one_sentence():
        environment = replay_environment(os.environ)
        if not dry_run:
            _asked(lambda models: models.hold())
    options = ReplayOptions(since=since, model=model, dry_run=dry_run, rate=rate, as_json=as_json)
    begin("embed", options, environment)


@embeddings_app.command("drop")
def drop(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Remove the vectors, chunks and indexes of a model that no share is searched by any more."""
    with one_sentence():
        dropped = Dropped(model=model, shares=_asked(lambda models: models.drop(model)))
    if as_json:
        print_json(dropped)
    else:
        show(f"The vectors of {model} are gone; {dropped.shares} shares had them.")


def _asked(what: Callable[[SearchModels], Awaitable[T]]) -> T:
    async def run(dsn: str) -> T:
        async with open_pool(dsn, size=1) as pool:
            await verify_migrated(pool)
            return await what(SearchModels(Database(pool)))

    return asyncio.run(run(addresses(os.environ)["MILLRACE_POSTGRES"]))


def _view(standing: Standing) -> EmbeddingsView:
    return EmbeddingsView(
        search_model=standing.chosen,
        since=standing.since if standing.chosen else None,
        shares=standing.shares,
        models=[
            ModelView(
                model=one.model,
                shares=one.shares,
                searched=one.searched,
                cost_micro_usd=one.cost,
                rest_micro_usd=one.rest,
            )
            for one in standing.models
        ],
    )


def _print(standing: Standing, *, as_json: bool) -> None:
    view = _view(standing)
    if as_json:
        print_json(view)
        return
    if not view.models:
        show("Nothing was embedded yet.")
        return
    table = compact("model", "embedded", "searched by it", "cost so far", "the rest, about", right=("cost so far",))
    for one in view.models:
        rest = "nobody knows" if one.rest_micro_usd is None else format_usd(one.rest_micro_usd)
        counts = f"{one.shares} of {view.shares} shares"
        table.add_row(plain(one.model), counts, str(one.searched), format_usd(one.cost_micro_usd), rest)
    show(table)
    if view.search_model is None:
        show("No model was chosen: each share is searched by the one that embedded it last.")
    else:
        show(f"Search prefers {view.search_model}; shares that it has not embedded are searched by their own.")
