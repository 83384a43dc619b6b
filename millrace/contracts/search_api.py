"""Typed records of the HTTP API for search."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from millrace.contracts.api import Answer

SearchMode = Literal["hybrid", "semantic", "keyword"]


MatchedBy = Literal["semantic", "keyword"]


class Moment(Answer):
    """The sentence of what was said that a query means, with its own times in milliseconds; `url` plays it."""

    text: str
    start_ms: int
    end_ms: int
    url: str | None = None


class SearchHit(Answer):
    """A passage of a share; `start_ms` is where it begins, None in text shares; `moment` is its best sentence.

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
    moment: Moment | None = None


class SearchAnswer(Answer):
    """Hits, best first; `next` is the cursor of the following page, None on the last.

    `mode` is what was done; `note` says why when it is not what was asked for, and which cap the query was above that
    only warns.
    """

    query: str
    mode: SearchMode
    note: str | None = None
    hits: list[SearchHit]
    next: str | None = None
