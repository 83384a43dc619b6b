"""How answers read: as text of 80 columns, with strangers' words made harmless."""

from __future__ import annotations

import pytest

from millrace.cli.budget import budget_report
from millrace.cli.console import moment, plain
from millrace.cli.demo import reckoning
from millrace.cli.search import hits
from millrace.cli.view import moves, share_report
from millrace.contracts.budget_api import BudgetAnswer
from millrace.contracts.events import Segment
from millrace.contracts.search_api import Moment, SearchAnswer
from millrace.contracts.share_api import SummaryView, TranscriptView
from millrace.money import MicroUSD
from tests.support.command_line import lines
from tests.unit.cli.build import ID, NOW, budget_row, hit, receipt, share, stage


@pytest.mark.parametrize(
    ("milliseconds", "read"), [(0, "0:00.0"), (7_590, "0:07.5"), (3_723_400, "1:02:03.4"), (None, "")]
)
def test_a_moment_is_read_as_on_a_player(milliseconds: int | None, read: str) -> None:
    assert moment(milliseconds) == read


def test_words_of_strangers_neither_style_nor_steer_the_terminal() -> None:
    shown = plain("[bold]x[/bold]\x1b[2J\rno\nnext").plain
    assert shown == "[bold]x[/bold]\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}no\nnext"


def test_a_share_reads_with_times_summary_and_a_ledger_line_for_every_stage() -> None:
    view = share(
        stage("media"),
        stage("transcribe", cost_micro_usd=1_500),
        stage("summarize", "skipped", reason="too-short"),
        receipts=[receipt("transcribe")],
        transcript=TranscriptView(
            text="Hello.", segments=[Segment(start_ms=100, end_ms=2_300, text=" Hello.")], backend="local", model="m"
        ),
        summary=SummaryView(summary="", backend="extractive", model="m", skipped_reason="too-short"),
    )
    shown = lines(share_report(view))
    assert f"id {ID}" in shown
    assert "0:00.1 - 0:02.3 Hello." in shown
    assert "none: too short" in shown
    assert shown[shown.index("Ledger") + 2 :] == [
        "media no model called $0.00 nothing to grant",
        "transcribe model-of-transcribe $0.002 $0.0015 settled",
        "summarize no model called $0.00 nothing to grant",
    ]


def test_a_receipt_of_an_earlier_share_is_marked_and_explained() -> None:
    shown = lines(share_report(share(stage("embed"), receipts=[receipt("embed", reused=True)])), width=120)
    assert "embed model-of-embed $0.002 $0.0015 reused" in shown
    assert any(line.startswith("reused: ") for line in shown)


def test_a_receipt_says_how_many_share_the_call() -> None:
    batched = receipt("embed").model_copy(update={"works": 38})
    shown = lines(share_report(share(stage("embed"), receipts=[batched])), width=120)
    assert "embed model-of-embed $0.002 $0.0015 settled, with 37 others" in shown


def test_a_call_above_a_cap_that_only_warns_is_named_below_the_ledger_once() -> None:
    warned = receipt("embed").model_copy(update={"reason": "above the cap hour:embed, which only warns"})
    shown = lines(share_report(share(stage("embed"), receipts=[warned, warned])))
    assert shown[-2:] == [
        "embed model-of-embed $0.002 $0.0015 settled",
        "embed: above the cap hour:embed, which only warns",
    ]


def test_a_stage_that_has_not_ended_has_no_ledger_line_yet() -> None:
    shown = lines(share_report(share(stage("transcribe", "running", progress=0.5), state="running")))
    assert shown[-1] == "stage model held cost state"
    assert any(line.startswith("transcribe ██████████░░░░░░░░░░ 50%") for line in shown)


def test_a_log_gets_a_line_for_every_move_and_no_other() -> None:
    first = share(stage("media", "running"), stage("embed", "queued"))
    then = share(stage("media", "failed", reason="This is no media."), stage("embed", "queued"))
    assert moves(None, first) == ["media: running"]
    assert moves(first, first) == []
    assert moves(first, then) == ["media: failed This is no media."]


def test_a_passage_that_was_shared_twice_is_read_once() -> None:
    found = [hit("one", "Ask not.", 100), hit("two", "Other.", None), hit("three", "Ask not.", 100)]
    shown = lines(hits(SearchAnswer(query="[red]q", mode="hybrid", hits=found)))
    expected = ["0:00.1 Ask not.", "in a share one", "in a share three", "Other.", "in a share two"]
    assert shown == ["Search: [red]q", *expected]


def test_a_hit_of_media_reads_with_the_moment_of_its_sentence_and_more_with_a_cursor() -> None:
    url = "https://youtu.be/abc?t=4s"
    spoken = hit("one", "Ask not.", 100).model_copy(
        update={"moment": Moment(text="not.", start_ms=4_200, end_ms=5_000, url=url)}
    )
    answer = SearchAnswer(query="q", mode="hybrid", hits=[spoken], next="10.h.0123456789abcdef")
    more = "There are more: --cursor 10.h.0123456789abcdef"
    assert lines(hits(answer))[1:] == ["0:04.2 Ask not.", "in a share one", f"at {url}", more]
    since = {"--since": "2030-01-02", "--until": None}
    assert lines(hits(answer, since))[-1] == f"{more} --since 2030-01-02"


def test_a_budget_leaves_out_what_has_neither_cap_nor_spend() -> None:
    rows = [budget_row("embed", cap=1_000_000, settled=250_000), budget_row("total", cap=None)]
    shown = lines(budget_report(BudgetAnswer(account="default", as_of=NOW, rows=rows)))
    assert shown[1:] == ["scope window spent held cap left", "embed this hour $0.25 $0.00 $1.00 $0.75"]


def test_a_budget_shows_what_may_have_been_billed_only_where_there_is_some() -> None:
    rows = [budget_row("embed", cap=None, unconfirmed=5)]
    shown = lines(budget_report(BudgetAnswer(account="default", as_of=NOW, rows=rows)))
    assert shown[1:] == [
        "scope window spent held unconfirmed cap left",
        "embed this hour $0.00 $0.00 $0.000005 none none",
    ]


def test_a_budget_shows_overrun_and_warning_caps_only_where_there_are_some() -> None:
    row = budget_row("embed", cap=10, settled=4)
    rows = [row.model_copy(update={"mode": "warn", "overrun_micro_usd": MicroUSD(3)}), row]
    shown = lines(budget_report(BudgetAnswer(account="default", as_of=NOW, rows=rows)))
    assert shown[1:] == [
        "scope window spent held overrun cap left mode",
        "embed this hour $0.000004 $0.00 $0.000003 $0.00001 $0.000006 warn",
        "this hour $0.000004 $0.00 $0.00 $0.00001 $0.000006",
    ]


def test_the_reckoning_tells_calls_of_now_from_those_that_were_reused() -> None:
    views = [share(receipts=[receipt("embed"), receipt("summarize", reused=True), receipt("transcribe", "denied")])]
    assert "granted each of the 1 model calls" in reckoning(views)
    assert "1 results were reused" in reckoning(views)
    assert "nothing was paid" in reckoning(views)
    together = [share(receipts=[receipt("embed").model_copy(update={"works": 2})]) for _ in range(2)]
    assert "granted each of the 1 model calls" in reckoning(together), "one call, which two shares have a part of"
    assert "No model was called; 1 results" in reckoning([share(receipts=[receipt("embed", reused=True)])])
    paid = [share(cost_micro_usd=MicroUSD(1_500), summary=SummaryView(summary="s", backend="api", model="m"))]
    assert reckoning(paid).startswith("Some models were asked over the network and $0.0015 was spent.")
