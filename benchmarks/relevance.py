"""How good a ranking is, and the judged set in `benchmarks/judged` to measure it on.

The measures are pure. A ranking is document ids, best first; grades are those of one query, and a document that has
none is of no use to it (grade 0).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter

FOLDER: Final = Path(__file__).parent / "judged"
LEAST_DOCUMENTS, LEAST_QUERIES = 200, 60

Grade = Annotated[int, Field(ge=1, le=3)]
"""3 answers exactly, 2 is clearly relevant, 1 touches."""
QueryKind = Literal["paraphrase", "keywords", "exact name", "number", "question", "other"]


def ndcg(ranking: Sequence[str], grades: Mapping[str, int], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first `k`: 1 is the best order that the grades allow.

    The sum over ranks r = 1..k of (2^grade - 1) / log2(r + 1), divided by that of the ideal order. Järvelin and
    Kekäläinen: Cumulated gain-based evaluation of IR techniques, ACM TOIS 20(4), 2002; with the exponential gain of
    Burges et al.: Learning to rank using gradient descent, ICML 2005.

    :param ranking: a repeated id gains nothing the second time, and takes its place.
    :raises ValueError: nothing has a grade above 0, or `k` is less than 1.
    """
    _checked(grades, k)
    ideal = _dcg(sorted(grades.values(), reverse=True)[:k])
    return _dcg(_found(ranking, grades, k)) / ideal


def recall(ranking: Sequence[str], grades: Mapping[str, int], k: int = 10) -> float:
    """The share of the relevant documents, those with a grade above 0, that are among the first `k`.

    Manning, Raghavan, Schütze: Introduction to Information Retrieval, 2008, section 8.3.

    :raises ValueError: nothing has a grade above 0, or `k` is less than 1.
    """
    relevant = _checked(grades, k)
    return sum(grade > 0 for grade in _found(ranking, grades, k)) / relevant


def _checked(grades: Mapping[str, int], k: int) -> int:
    relevant = sum(grade > 0 for grade in grades.values())
    if not relevant:
        raise ValueError("a query without a relevant document measures nothing")
    if k < 1:
        raise ValueError(f"the first {k} of a ranking are none")
    return relevant


def _found(ranking: Sequence[str], grades: Mapping[str, int], k: int) -> list[int]:
    first = ranking[:k]
    return [0 if key in first[:place] else grades.get(key, 0) for place, key in enumerate(first)]


def _dcg(grades: Sequence[int]) -> float:
    return math.fsum((2**grade - 1) / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1))


@dataclass(frozen=True)
class Document:
    """What somebody might share."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    id: str
    title: str
    kind: Literal["text", "transcript"]
    topic: str
    text: str


@dataclass(frozen=True)
class Query:
    """What somebody might look for; `relevant` holds the grade of each document that is of use, and no other."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    id: str
    query: str
    kind: QueryKind
    relevant: Mapping[str, Grade]


@dataclass(frozen=True)
class Judged:
    """A set that has been checked; both in the order of their files."""

    documents: tuple[Document, ...]
    queries: tuple[Query, ...]


T = TypeVar("T", Document, Query)
_DOCUMENT: Final = TypeAdapter(Document)
_QUERY: Final = TypeAdapter(Query)


def load(folder: Path = FOLDER) -> Judged:
    """Read `documents.jsonl` and `queries.jsonl`.

    :raises ValueError: a line has not the fields of its kind, or as `checked`; pydantic's errors are among them.
    """
    return checked(_lines(folder / "documents.jsonl", _DOCUMENT), _lines(folder / "queries.jsonl", _QUERY))


def checked(documents: Iterable[Document], queries: Iterable[Query]) -> Judged:
    """Both as one set.

    :raises ValueError: too few to mean anything, an id twice, a query that nothing answers, or a grade of a document
        that does not exist.
    """
    judged = Judged(tuple(documents), tuple(queries))
    known = _unique(judged.documents, LEAST_DOCUMENTS)
    _unique(judged.queries, LEAST_QUERIES)
    for query in judged.queries:
        if not query.relevant:
            raise ValueError(f"{query.id}: no document is relevant")
        if unknown := sorted(set(query.relevant) - known):
            raise ValueError(f"{query.id}: no such documents: {', '.join(unknown)}")
    return judged


def _lines(path: Path, kind: TypeAdapter[T]) -> list[T]:
    with path.open(encoding="utf-8") as lines:
        return [kind.validate_json(line) for line in lines]


def _unique(rows: Sequence[Document] | Sequence[Query], least: int) -> set[str]:
    ids = {row.id for row in rows}
    if len(rows) < least:
        raise ValueError(f"{len(rows)} where at least {least} are needed")
    if len(ids) < len(rows):
        raise ValueError(f"{len(rows) - len(ids)} ids are there more than once")
    return ids
