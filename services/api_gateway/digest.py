"""A digest: what an owner has shared in a period, by topic. No model is called, so it costs nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

import asyncpg
import numpy as np

from millrace.contracts.insight_api import DigestAnswer, DigestShare, DigestTopic
from millrace.models.port import EmbeddingModel
from millrace.sentences import split_sentences
from services.api_gateway.clusters import FEWEST, Vectors, background, clusters, normalised
from services.api_gateway.digest_rows import Counts, Row
from services.api_gateway.errors import TooWide
from services.api_gateway.labels import Words, label, terms
from services.api_gateway.ranking import snippet

MOST: Final = 2_000
"""Shares that are compared: a fifth of a second, and 16 MB."""
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TOO_WIDE: Final = "The digest took too long; ask for a shorter period."
_SENTENCE: Final = 300  # characters
_READ_FOR_SENTENCE: Final = 1_000


class Rows(Protocol):
    """Reads what a digest is made of."""

    async def newest(self, owner: str, model: str, since: datetime, until: datetime, limit: int) -> list[Row]:
        """Shares of a period with vectors, newest first."""
        ...

    async def counts(self, owner: str, model: str, since: datetime, until: datetime) -> Counts:
        """All shares of a period."""
        ...

    async def stop_words(self, words: Sequence[str], languages: Sequence[str | None]) -> set[str]:
        """Which of some words say nothing."""
        ...


@dataclass(frozen=True)
class _Grouped:
    topics: list[list[Row]]
    terms: list[list[str]]
    others: list[Row]


class DigestDesk:
    """Makes digests, one at a time.

    :param model: whose vectors are compared.
    :param within_s: of waiting, reading and comparing together.
    """

    def __init__(self, rows: Rows, model: EmbeddingModel, *, within_s: float = 20.0) -> None:
        self._rows = rows
        self._model = model
        self._within_s = within_s
        self._one_at_a_time = asyncio.Lock()

    async def digest(self, owner: str, since: datetime, until: datetime, *, limit: int) -> DigestAnswer:
        """The shares from `since` until, not including, `until`.

        :param limit: shares that are shown of each topic, and of those in none.
        :raises TooWide: it took too long.
        """
        try:
            async with asyncio.timeout(self._within_s), self._one_at_a_time:
                return await self._digest(owner, since, until, limit)
        except (TimeoutError, asyncpg.QueryCanceledError) as exc:
            raise TooWide(_TOO_WIDE) from exc

    async def _digest(self, owner: str, since: datetime, until: datetime, limit: int) -> DigestAnswer:
        model = self._model.name
        counts = await self._rows.counts(owner, model, since, until)
        found = await self._rows.newest(owner, model, since, until, MOST)
        # Few shares do not say how near any two are: older ones do.
        wider = (
            found if len(found) >= FEWEST else await self._rows.newest(owner, model, _LONG_AGO, until, 10 * FEWEST)
        )
        grouped = await asyncio.to_thread(_grouped, found, wider)
        words = sorted({term.casefold() for ranked in grouped.terms for term in ranked})
        stop_words = await self._rows.stop_words(words, [row.language for row in found])
        topics = [
            (label(ranked, stop_words), rows) for ranked, rows in zip(grouped.terms, grouped.topics, strict=True)
        ]
        shown = [*(rows[:limit] for _, rows in topics), grouped.others[:limit]]
        shares = await asyncio.to_thread(lambda: [[_share(row) for row in rows] for rows in shown])
        return DigestAnswer(
            since=since,
            until=until,
            count=counts.all,
            grouped=len(found),
            note=note(counts, len(found)),
            topics=[
                DigestTopic(label=named or (rows[0].title or "Untitled"), count=len(rows), shares=few)
                for (named, rows), few in zip(topics, shares[:-1], strict=True)
            ],
            others=shares[-1],
            others_count=len(grouped.others),
        )


def note(counts: Counts, compared: int) -> str | None:
    """What a digest leaves out."""
    notes = []
    if counts.all - counts.without > compared:
        notes.append(f"The period is cut: only its newest {compared} shares are grouped.")
    if counts.without:
        left_out = "1 share is" if counts.without == 1 else f"{counts.without} shares are"
        notes.append(f"{left_out} left out, without vectors of the model in use.")
    return " ".join(notes) or None


def _grouped(rows: Sequence[Row], wider: Sequence[Row]) -> _Grouped:
    """Topics, and what is in none, newest first."""
    vectors, length = vectors_of(rows)
    usual = background(vectors if wider is rows else vectors_of(wider, length)[0])
    found = clusters(vectors, usual=usual)
    topics = [[rows[at] for at in members] for members in found if len(members) > 1]
    others = [rows[members[0]] for members in found if len(members) == 1]
    named = terms([[_words(row) for row in topic] for topic in topics], [_words(row) for row in others])
    return _Grouped(topics, named, others)


def vectors_of(rows: Sequence[Row], length: int | None = None) -> tuple[Vectors, int]:
    """Normalised means; of the usual length, those of another are near to nothing."""
    parsed = [np.fromstring(row.mean.strip("[]"), sep=",", dtype=np.float32) for row in rows]
    length = length or max(Counter(map(len, parsed)).items(), key=lambda one: one[1], default=(1, 0))[0]
    vectors = np.zeros((len(parsed), length), dtype=np.float32)
    for into, vector in zip(vectors, parsed, strict=True):
        if len(vector) == length:
            into[:] = vector
    return normalised(vectors), length


def _words(row: Row) -> Words:
    return Words(" ".join([row.title or "", *row.tags]), f"{row.summary or ''} {row.text}")


def _share(row: Row) -> DigestShare:
    return DigestShare(
        share_id=row.share_id,
        title=row.title,
        url=row.url,
        href=f"/shares/{row.share_id}",
        created_at=row.created_at,
        sentence=first_sentence(row.summary or row.text, row.language),
    )


def first_sentence(text: str, language: str | None) -> str:
    """At most about 300 characters."""
    sentences = split_sentences(text.strip()[:_READ_FOR_SENTENCE], language)
    return snippet(next((one for one in sentences if one.strip()), ""), "", longest=_SENTENCE)
