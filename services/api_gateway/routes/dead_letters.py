"""GET /dead, GET /dead/{id}, and what people decide about dead letters."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from millrace.contracts.api import Problem
from millrace.contracts.dead_api import (
    Changed,
    DeadFilter,
    DeadLetter,
    DeadLettersAnswer,
    ManyChanged,
    Selection,
)
from services.api_gateway.resources import Parts, known
from services.api_gateway.who import Admin, admin

router = APIRouter(prefix="/dead", tags=["dead letters"], dependencies=[Depends(admin)])

_NONE = {"model": Problem, "description": "No such dead letter"}
_NOT_NOW = {"model": Problem, "description": "It cannot be read, or something else was decided before"}
_SILENT = {"model": Problem, "description": "The database or the registry does not answer; asking again is safe"}


@router.get("")
async def list_dead_letters(which: Annotated[DeadFilter, Query()], parts: Parts) -> DeadLettersAnswer:
    """Messages that a stage gave up on, newest first."""
    if which.stage is not None:
        known(which.stage, parts.catalog.stages, "stage")
    return await parts.dead_letters.page(which)


@router.get("/{letter_id}", responses={404: _NONE, 503: _SILENT})
async def show_dead_letter(letter_id: str, parts: Parts) -> DeadLetter:
    """A dead letter with its evidence, its original bytes, and what they say."""
    return await parts.dead_letters.show(letter_id)


@router.post("/redrive", responses={503: _SILENT})
async def redrive_dead_letters(which: Selection, parts: Parts, who: Admin) -> ManyChanged:
    """Redrive the open dead letters of a stage, or with `dry_run` count them."""
    known(which.stage, parts.catalog.stages, "stage")
    return await parts.dead_letters.redrive_many(which, who.owner)


@router.post("/discard", responses={503: _SILENT})
async def discard_dead_letters(which: Selection, parts: Parts, who: Admin) -> ManyChanged:
    """Discard the open dead letters of a stage, or with `dry_run` count them."""
    known(which.stage, parts.catalog.stages, "stage")
    return await parts.dead_letters.discard_many(which, who.owner)


@router.post("/{letter_id}/redrive", responses={404: _NONE, 409: _NOT_NOW, 503: _SILENT})
async def redrive_dead_letter(letter_id: str, parts: Parts, who: Admin) -> Changed:
    """Let the stage try the message again with a fresh budget of attempts; may be repeated.

    What an earlier try has paid for and kept is not paid again. A letter that was discarded can still be redriven.
    """
    return await parts.dead_letters.redrive(letter_id, who.owner)


@router.post("/{letter_id}/discard", responses={404: _NONE, 409: _NOT_NOW, 503: _SILENT})
async def discard_dead_letter(letter_id: str, parts: Parts, who: Admin) -> Changed:
    """Say that nothing is to be done about the message; it is kept. May be repeated."""
    return await parts.dead_letters.discard(letter_id, who.owner)
