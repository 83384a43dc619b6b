"""`millrace share duplicates`, `millrace digest`, and the quality of a share, as they read."""

from __future__ import annotations

import json

import httpx
import pytest

from millrace.cli.digest import digest_report
from millrace.cli.duplicates import duplicates_report
from millrace.cli.view import share_report
from millrace.contracts.api import Problem
from millrace.contracts.insight_api import DigestAnswer, DigestShare, DigestTopic, Duplicate, DuplicatesAnswer
from millrace.contracts.share_api import QualityView
from tests.support.command_line import lines, run, sentence
from tests.unit.cli.build import ID, NOW, share, stage

DUPLICATES = DuplicatesAnswer(
    share_id=ID,
    duplicates=[
        Duplicate(share_id="a", title="The\x1b wheel", created_at=NOW, jaccard=1.0, by=["content"]),
        Duplicate(share_id="b", created_at=NOW, jaccard=0.5, cosine=0.876, by=["content", "vector"]),
    ],
)
ONE = DigestShare(share_id="a", title="Saturn", href="/shares/a", created_at=NOW, sentence="It has rings.")
DIGEST = DigestAnswer(
    since=NOW,
    until=NOW,
    count=4,
    grouped=4,
    note="The period is cut.",
    topics=[DigestTopic(label="planet, ring", count=3, shares=[ONE])],
    others=[ONE.model_copy(update={"share_id": "b", "title": "A court"})],
    others_count=1,
)


class Gateway:
    """Gives one answer, and keeps what it was asked."""

    def __init__(self, answer: DuplicatesAnswer | DigestAnswer) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.raw_path.decode())
        return httpx.Response(200, content=self.answer.model_dump_json().encode())


def test_duplicates_read_most_alike_first() -> None:
    shown = lines(duplicates_report(DUPLICATES))
    assert shown[1:] == ["1.00 a The\N{REPLACEMENT CHARACTER} wheel", "0.50 0.88 b a share"]


def test_no_duplicates_are_said_with_what_could_not_be_compared() -> None:
    answer = DuplicatesAnswer(share_id=ID, note="Not yet.", duplicates=[])
    assert lines(duplicates_report(answer)) == ["Not yet.", "No share says nearly the same."]


def test_duplicates_are_asked_for_with_their_thresholds_and_printed_as_json() -> None:
    gateway = Gateway(DUPLICATES)
    result = run(gateway, "share", "duplicates", ID, "--least-cosine", "0.9", "--limit", "5", "--json")
    assert DuplicatesAnswer.model_validate(json.loads(result.stdout)) == DUPLICATES
    assert gateway.asked == [f"/shares/{ID}/duplicates?limit=5&least_cosine=0.9"]


def test_a_digest_reads_topic_by_topic() -> None:
    assert lines(digest_report(DIGEST)) == [
        "Digest: 2030-01-02 03:04 to 2030-01-02 03:04 UTC, 4 shares",
        "The period is cut.",
        "",
        "planet, ring (3)",
        "Saturn a",
        "It has rings.",
        "and 2 more: see --limit",
        "",
        "By themselves (1)",
        "A court b",
        "It has rings.",
    ]


def test_a_digest_of_nothing_says_so() -> None:
    empty = DigestAnswer(since=NOW, until=NOW, count=0, grouped=0)
    assert lines(digest_report(empty))[1:] == ["Nothing was shared."]


def test_a_digest_is_asked_for_its_period_and_printed_as_json() -> None:
    gateway = Gateway(DIGEST)
    result = run(gateway, "digest", "--since", "2030-01-01T00:00", "--until", "2030-01-02", "--json")
    assert DigestAnswer.model_validate(json.loads(result.stdout)) == DIGEST
    assert gateway.asked == [
        "/digest?since=2030-01-01T00%3A00%3A00%2B00%3A00&until=2030-01-02T00%3A00%3A00%2B00%3A00&limit=10"
    ]


@pytest.mark.parametrize("command", [["digest"], ["share", "duplicates", ID]])
def test_a_refusal_is_its_sentence(command: list[str]) -> None:
    problem = Problem(title="No", status=404, detail="There is no share with this id.")
    result = run(lambda _: httpx.Response(404, content=problem.model_dump_json().encode()), *command)
    assert (result.exit_code, sentence(result)) == (1, "millrace: There is no share with this id.\n")


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        (QualityView(score=0.7, by="model", parts={"length": 0.1}), "0.70 (by model)"),
        (
            QualityView(score=0.25, by="rule", parts={"length": 1.0, "links": 0.125}),
            "0.25 (by rule; least of all links: 0.12)",
        ),
    ],
)
def test_a_share_says_its_quality_and_what_is_worst(quality: QualityView, said: str) -> None:
    assert said in lines(share_report(share(stage("embed"), quality=quality)))


def test_search_asks_for_a_least_quality() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["least_quality"])
        return httpx.Response(200, json={"query": "wheel", "mode": "keyword", "hits": []})

    assert run(answer, "search", "wheel", "--least-quality", "0.5").exit_code == 0
    assert asked == ["0.5"]
