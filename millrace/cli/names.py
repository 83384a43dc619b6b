"""Names that the catalogue knows, as people type them."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from millrace.contracts.catalog import Catalog


def a_stage(name: str | None) -> str | None:
    """A stage; for options and arguments.

    :raises typer.BadParameter: there is none of that name.
    """
    return _one_of(name, Catalog.load().stages)


def a_scope(name: str | None) -> str | None:
    """What caps can be about; for options and arguments.

    :raises typer.BadParameter: caps are not about that.
    """
    return _one_of(name, Catalog.load().scopes)


def _one_of(name: str | None, names: Iterable[str]) -> str | None:
    if name is not None and name not in names:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(names)}.")
    return name
