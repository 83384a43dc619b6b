"""The reader of queries refuses what Prometheus takes and never answers."""

from __future__ import annotations

import pytest

from tests.support.promql import Query, Wrong, read

KNOWN = {
    "jobs_total": frozenset({"stage", "state", "instance"}),
    "lag": frozenset({"stage", "topic"}),
    "seconds_bucket": frozenset({"stage", "le"}),
}


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ("lag", {"stage", "topic"}),
        ("sum(rate(jobs_total[5m]))", set()),
        ('sum by (stage) (rate(jobs_total{state=~"done|failed"}[5m])) > 3', {"stage"}),
        ("sum without (topic) (lag)", {"stage"}),
        ("topk(3, lag)", {"stage", "topic"}),
        ("histogram_quantile(0.95, sum by (le, stage) (rate(seconds_bucket[5m])))", {"stage"}),
        ("lag unless on (stage) max by (stage) (jobs_total) == 1", {"stage", "topic"}),
        ("sum by (stage) (lag) / on (stage) sum by (stage, state) (jobs_total)", {"stage"}),
        ('absent(jobs_total{stage="media"})', {"stage"}),
        ("max_over_time(sum(lag)[10m:1m])", set()),
    ],
)
def test_the_labels_of_an_answer_are_known(query: str, labels: set[str]) -> None:
    assert read(query, KNOWN).labels == frozenset(labels)


def test_it_says_which_series_and_values_are_asked_for() -> None:
    found = read('sum(rate(jobs_total{state=~"done|failed", stage!="x"}[5m])) / sum(lag{stage="media"})', KNOWN)
    values = {("jobs_total", "state", "done"), ("jobs_total", "state", "failed"), ("lag", "stage", "media")}
    assert found == Query(frozenset({"jobs_total", "lag"}), frozenset(values), frozenset())


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("sum(rate(jobs[5m]))", "there is no metric jobs"),
        ('lag{partition="0"}', "lag has no partition"),
        ("sum by (model) (lag)", "sum has no model, only stage, topic"),
        ("sum by (stage) (sum by (topic) (lag))", "sum has no stage, only topic"),
        ("histogram_quantile(0.9, sum by (stage) (rate(seconds_bucket[5m])))", "histogram_quantile has no le"),
        ("sum by (stage) (lag) / sum by (state) (jobs_total)", "match nothing"),
        ("lag unless on (state) jobs_total", "both sides of unless has no state, only stage"),
        ("lag / ignoring (topic) jobs_total", "join on"),
        ("sum by (stage) (lag", ""),
        ('{__name__=~"lag.*"}', "there is no metric None"),
    ],
)
def test_what_never_answers_is_refused(query: str, why: str) -> None:
    with pytest.raises(Wrong) as caught:
        read(query, KNOWN)
    assert why in str(caught.value)
    assert query in str(caught.value)
