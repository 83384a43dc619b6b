"""Typed records of the HTTP API for search."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from millrace.contracts.api import Answer

SearchMode = Literal["hybrid", "semantic", "keyword"]


MatchedBy = Literal["semantic", "keyword"]


class SearchHit(Answer):
    """A passage of a share; `start_ms` is its moment, None in text shares.

    `score` orders the hits of one answer and means nothing beyond it; `similarity` is the cosine, -1 to 1, where
    the passage was found by meaning. `highlights` are the query's words in `text`: start and end in characters.
    """

    share_id: str
    title: str | None = None
    url: str | None = None
    text: str
    start_ms: int | None = None
    end_ms: int | None = None
    score: float
    similarity: float | None = None
    matched_by: list[MatchedBy]
    highlights: list[tuple[int, int]] = Field(default_factory=list)


class SearchAnswer(Answer):
    """Hits, best first.

    `mode` is what was done; `note` says why when it is not what was asked for, and which cap the query was above that
    only warns.
    """

    query: str
    mode: SearchMode
    note: str | None = None
    hits: list[SearchHit]
