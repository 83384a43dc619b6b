"""Digests over rows that a test makes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from millrace.models.port import EmbeddingModel
from services.api_gateway.clusters import FEWEST
from services.api_gateway.digest import MOST, DigestDesk, first_sentence, note, vectors_of
from services.api_gateway.digest_rows import Counts, Row
from services.api_gateway.errors import TooWide

SINCE, UNTIL = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 8, tzinfo=UTC)


class Model:
    """Its name is all that a digest asks for."""

    name = "model"


MODEL = cast(EmbeddingModel, Model())


def row(
    number: int, mean: str, *, text: str = "Some words.", title: str | None = None, summary: str | None = None
) -> Row:
    moment = UNTIL - timedelta(hours=number + 1)
    return Row(f"s{number}", title, None, moment, mean, text, summary, [], None)


class Rows:
    """Shares in memory, newest first."""

    def __init__(self, rows: Sequence[Row], older: Sequence[Row] = (), *, slow: bool = False) -> None:
        self.rows = list(rows)
        self.older = list(older)
        self.slow = slow
        self.asked: list[tuple[datetime, int]] = []

    async def newest(self, owner: str, model: str, since: datetime, until: datetime, limit: int) -> list[Row]:
        self.asked.append((since, limit))
        if self.slow:
            await asyncio.Event().wait()
        return (self.rows if since == SINCE else [*self.rows, *self.older])[:limit]

    async def counts(self, owner: str, model: str, since: datetime, until: datetime) -> Counts:
        return Counts(len(self.rows), 0)

    async def stop_words(self, words: Collection[str], languages: Collection[str | None]) -> set[str]:
        return {"the"} & set(words)


async def test_older_shares_say_what_is_usual_where_the_period_has_few() -> None:
    near = [row(number, f"[1,{number % 2},0,0]") for number in range(2)]
    alone = await DigestDesk(Rows(near), MODEL).digest("o", SINCE, UNTIL, limit=10)
    assert [topic.count for topic in alone.topics] == [2]
    older = [row(number, f"[1,{number % 2},0.1,0]") for number in range(FEWEST)]
    rows = Rows(near, older)
    told = await DigestDesk(rows, MODEL).digest("o", SINCE, UNTIL, limit=10)
    assert [share.share_id for share in told.others] == ["s0", "s1"], "no nearer than any two"
    assert [limit for _, limit in rows.asked] == [MOST, 10 * FEWEST]


async def test_a_topic_without_a_word_of_its_own_is_named_after_its_first_share() -> None:
    rows = [row(number, "[1,0]", text="the", title="12" if number else "2026") for number in range(2)]
    (topic,) = (await DigestDesk(Rows(rows), MODEL).digest("o", SINCE, UNTIL, limit=10)).topics
    assert topic.label == "2026"


async def test_a_digest_that_takes_too_long_is_refused_and_leaves_the_way_free() -> None:
    rows = Rows([], slow=True)
    desk = DigestDesk(rows, MODEL, within_s=0.05)
    with pytest.raises(TooWide, match="shorter period"):
        await desk.digest("o", SINCE, UNTIL, limit=10)
    rows.slow = False
    assert (await desk.digest("o", SINCE, UNTIL, limit=10)).count == 0


def test_vectors_of_another_length_are_near_to_nothing() -> None:
    vectors, length = vectors_of([row(0, "[3,4]"), row(1, "[1,0]"), row(2, "[1,2,3]")])
    assert (length, vectors.tolist()[1:]) == (2, [[1, 0], [0, 0]])
    assert vectors[0] == pytest.approx([0.6, 0.8])
    assert vectors_of([])[0].shape == (0, 1)


CUT = "The period is cut: only its newest 2000 shares are grouped."


@pytest.mark.parametrize(
    ("counts", "compared", "said"),
    [
        (Counts(3, 0), 3, None),
        (Counts(3, 1), 2, "1 share is left out, without vectors of the model in use."),
        (Counts(2_500, 2), MOST, f"{CUT} 2 shares are left out, without vectors of the model in use."),
    ],
)
def test_what_is_left_out_is_said(counts: Counts, compared: int, said: str | None) -> None:
    assert note(counts, compared) == said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", ""), ("  \n", ""), ("One.\nTwo.", "One."), ("Dr. Lu spoke. Then he left.", "Dr. Lu spoke.")],
)
def test_the_first_sentence_is_shown(text: str, sentence: str) -> None:
    assert first_sentence(text, "en").strip() == sentence


def test_a_sentence_without_an_end_is_cut() -> None:
    assert len(first_sentence("word " * 10_000, None)) < 320
