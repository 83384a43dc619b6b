"""What a ranking is worth, and that the judged set is what its page says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.relevance import Document, Judged, Query, checked, load, ndcg, recall

Measure = Callable[[Sequence[str], Mapping[str, int], int], float]
KEYS = [f"d{number}" for number in range(12)]
GRADES = st.dictionaries(st.sampled_from(KEYS), st.integers(1, 3), min_size=1, max_size=10)
RANKINGS = st.permutations(KEYS)
PLACES = st.integers(0, len(KEYS) - 1)
CUTS = st.integers(1, 15)


@pytest.mark.parametrize(
    ("ranking", "k", "worth"),
    [
        (["a", "b", "c"], 10, 1.0),
        # ideal: 7/1 + 3/1.584963 + 1/2 = 9.392789
        (["c", "b", "a"], 10, (1 + 3 / 1.5849625 + 7 / 2) / 9.3927893),
        (["x", "a"], 10, (7 / 1.5849625) / 9.3927893),
        (["a", "a", "b"], 10, (7 + 3 / 2) / 9.3927893),  # the second place is wasted
        (["b", "a", "c"], 1, 3 / 7),  # of one place, the best has 7
        (["x", "y", "a"], 2, 0.0),
        ([], 10, 0.0),
    ],
)
def test_gain_is_discounted_by_rank_and_divided_by_the_ideal(ranking: list[str], k: int, worth: float) -> None:
    assert ndcg(ranking, {"a": 3, "b": 2, "c": 1}, k) == pytest.approx(worth, abs=1e-6)


@pytest.mark.parametrize(
    ("ranking", "k", "share"),
    [
        (["a", "x", "b", "c"], 10, 0.75),
        (["a", "x", "b", "c"], 3, 0.5),
        (["a", "a"], 2, 0.25),
        (["x"], 10, 0.0),
    ],
)
def test_recall_counts_relevant_documents_once(ranking: list[str], k: int, share: float) -> None:
    assert recall(ranking, {"a": 3, "b": 1, "c": 2, "d": 1, "z": 0}, k) == share


@pytest.mark.parametrize("measure", [ndcg, recall])
@pytest.mark.parametrize(("grades", "k"), [({}, 10), ({"a": 0}, 10), ({"a": 3}, 0)])
def test_what_cannot_be_measured_is_refused(measure: Measure, grades: dict[str, int], k: int) -> None:
    with pytest.raises(ValueError, match=r"measures nothing|are none"):
        measure(["a"], grades, k)


@given(GRADES, CUTS)
def test_the_ideal_ranking_is_worth_exactly_one(grades: dict[str, int], k: int) -> None:
    ideal = sorted(grades, key=lambda key: -grades[key])
    assert ndcg(ideal, grades, k) == 1
    assert recall(ideal, grades, max(k, len(ideal))) == 1


@given(RANKINGS, GRADES, PLACES, PLACES, CUTS)
def test_a_better_document_moved_up_never_costs(
    ranking: list[str], grades: dict[str, int], one: int, other: int, k: int
) -> None:
    above, below = sorted((one, other))
    swapped = list(ranking)
    swapped[above], swapped[below] = swapped[below], swapped[above]
    if grades.get(ranking[below], 0) < grades.get(ranking[above], 0):
        ranking, swapped = swapped, ranking
    assert ndcg(swapped, grades, k) >= ndcg(ranking, grades, k) - 1e-12
    assert recall(swapped, grades, k) >= recall(ranking, grades, k)


@given(RANKINGS, GRADES, CUTS)
def test_both_measures_lie_between_none_and_all(ranking: list[str], grades: dict[str, int], k: int) -> None:
    assert 0 <= ndcg(ranking, grades, k) <= 1 + 1e-12
    assert 0 <= recall(ranking, grades, k) <= recall(ranking, grades, k + 1) <= 1


def a_set(documents: int = 200, queries: int = 60) -> Judged:
    made = [Document(f"d{number}", "A title", "text", "mills", "Some words.") for number in range(documents)]
    asked = [Query(f"q{number}", "words", "keywords", {"d0": 3}) for number in range(queries)]
    return Judged(tuple(made), tuple(asked))


def written(made: Judged, folder: Path) -> Path:
    for name, rows in (("documents", made.documents), ("queries", made.queries)):
        lines = [json.dumps(asdict(row)) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_a_set_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert load(written(a_set(), tmp_path)) == a_set()


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (a_set(documents=199), "199 where at least 200"),
        (a_set(queries=59), "59 where at least 60"),
        (replace(a_set(), documents=(*a_set().documents, a_set().documents[7])), "1 ids are there more than once"),
        (replace(a_set(), queries=(*a_set().queries, a_set().queries[7])), "1 ids are there more than once"),
        (replace(a_set(), queries=(*a_set().queries, Query("q", "w", "other", {"d900": 1}))), "q: no such .* d900"),
        (replace(a_set(), queries=(*a_set().queries, Query("q", "w", "other", {}))), "q: no document is relevant"),
    ],
)
def test_a_set_that_would_mislead_is_refused(made: Judged, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        checked(made.documents, made.queries)


@pytest.mark.parametrize(
    "changed",
    [{"relevant": {"d0": 4}}, {"relevant": {"d0": 0}}, {"kind": "riddle"}, {"note": "one field more"}],
)
def test_a_line_that_is_no_query_is_refused(changed: dict[str, object], tmp_path: Path) -> None:
    folder = written(a_set(), tmp_path)
    line = {"id": "q", "query": "words", "kind": "other", "relevant": {"d0": 3}, **changed}
    with (folder / "queries.jsonl").open("a", encoding="utf-8") as queries:
        queries.write(json.dumps(line) + "\n")

    with pytest.raises(ValueError, match="Query"):
        load(folder)


def test_the_judged_set_is_what_its_page_says() -> None:
    judged = load()
    assert all(40 <= len(document.text.split()) <= 110 for document in judged.documents)
    assert all(1 <= len(query.relevant) <= 10 for query in judged.queries)
    assert all(max(query.relevant.values()) == 3 for query in judged.queries)
    assert len({document.text for document in judged.documents}) == len(judged.documents)
    assert len({query.query for query in judged.queries}) == len(judged.queries)
