"""What a replay reads, chooses and reckons, decided without Kafka."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from millrace.errors import ConfigurationError
from millrace.ids import WorkKey
from millrace.kafka.records import Partition
from millrace.money import MicroUSD
from millrace.store.turns import Turn
from millrace.stream.replay import window
from millrace.stream.replay.choose import Choice, Chosen, estimate
from millrace.stream.replay.options import read_options
from millrace.stream.replay.window import Stretch
from services.embed_agent.app import AGENT

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
TOPICS = ("share.created", "transcript.ready")


def test_a_moment_is_read_as_it_is_typed() -> None:
    assert window.since(" 90 m", NOW) == NOW - timedelta(minutes=90)


@pytest.mark.parametrize("text", ["yesterday", "", "7 weeks", "-3h", "2026-13-01", "999999d"])
def test_what_is_no_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no moment: give one like"):
        window.since(text, NOW)


def test_without_options_everything_is_replayed() -> None:
    options = read_options(["{}"])
    assert (options.shares, options.since, options.rate, options.dry_run) == (None, None, 500, False)


@pytest.mark.parametrize(
    "words", [[], ["--dry-run"], ["--share", "a"], ["{}", "{}"], ['{"rate": 0}'], ['{"sahre": []}']]
)
def test_a_stages_program_with_other_options_says_which_command_to_use(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["services.embed_agent", "replay", *words])
    with pytest.raises(SystemExit) as ended:
        AGENT.main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.startswith("millrace replay embed: ")
    assert said.err.endswith("use `millrace replay`.\n")


def test_offsets_include_both_ends() -> None:
    assert window.ranges(["share.created:2:5-9"], TOPICS) == [Stretch("share.created", 2, 5, 10, 5)]


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["share.created:0:9-5"], "is no range"),
        (["share.created:0"], "is no range"),
        (["share.created:0:-1-5"], "is no range"),
        (["media.ready:0:1-5"], "reads no events of 'media.ready': it reads share.created, transcript.ready"),
        (["share.created:0:1-5", "share.created:0:7-9"], "Two ranges are of share.created:0"),
    ],
)
def test_offsets_that_make_no_sense_are_refused(texts: list[str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        window.ranges(texts, TOPICS)


def test_a_stretch_never_moves_back() -> None:
    stretch = Stretch("share.created", 0, 5, 10, 7)
    assert (stretch.moved(9).next, stretch.moved(6).next) == (9, 7)


def choice(share: str, offset: int, *, work: str = "w", minutes: int = 0, most: int | None = 5) -> Choice:
    return Choice(
        share,
        Partition("share.created", 0),
        offset,
        Turn(NOW + timedelta(minutes=minutes)),
        WorkKey(work),
        "m",
        None if most is None else MicroUSD(most),
    )


def test_the_newest_event_of_a_share_is_chosen_in_whatever_order_they_are_read() -> None:
    old, new = choice("a", 7), replace(choice("a", 2, minutes=1), at=Partition("transcript.ready", 3))
    for order in ((old, new), (new, old)):
        chosen = Chosen()
        for one in order:
            chosen.add(one)
        assert chosen.places() == {(new.at, 2)}
        assert chosen.newest() == NOW + timedelta(minutes=1)


def test_shares_that_were_asked_for_and_not_found_are_named() -> None:
    chosen = Chosen(frozenset({"a", "b"}))
    chosen.add(choice("a", 1))
    assert (chosen.wants("a"), chosen.wants("c"), chosen.missing()) == (True, False, ["b"])


def test_the_same_work_is_reckoned_once_and_finished_work_not_at_all() -> None:
    choices = [choice("a", 1, work="w"), choice("b", 2, work="w"), choice("c", 3, work="x"), choice("d", 4, work="x")]
    found = estimate(choices, {WorkKey("x")}, {})
    assert (found.shares, found.works, found.shares_done, found.to_do) == (4, 2, 2, 1)
    assert (found.micro_usd, found.basis) == (5, "holds")


def test_where_the_stage_says_nothing_past_costs_are_taken() -> None:
    choices = [choice("a", 1, work="w", most=None), choice("b", 2, work="x")]
    assert estimate(choices, (), {"m": MicroUSD(40)}).micro_usd == 80
    assert estimate(choices, (), {"m": MicroUSD(40)}).basis == "average"
    unknown = estimate(choices, (), {})
    assert (unknown.micro_usd, unknown.basis) == (None, "unknown")
    nothing = estimate(choices, {WorkKey("w"), WorkKey("x")}, {})
    assert (nothing.to_do, nothing.micro_usd) == (0, 0)


def test_a_later_turn_follows_waiting_also_by_a_clock_that_is_behind() -> None:
    turn = Turn(NOW)
    first = turn.after_waiting(NOW)
    behind = first.after_waiting(NOW - timedelta(hours=1))
    assert turn < first < behind < Turn(NOW + timedelta(milliseconds=1))
