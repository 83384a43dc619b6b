"""The budgets file and what of it the log does not know yet."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace.contracts.events import CostRequest
from millrace.errors import ConfigurationError
from services.cost_ledger.budgets import PACKAGED, Cap, differences, load
from services.cost_ledger.decide import LAST_CAP_AT_START
from services.cost_ledger.rows import CapKey
from tests.unit.ledger.build import Partition, everybody, reserve, set_cap

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def missing(ledger: Partition, caps: dict[CapKey, Cap]) -> list[CostRequest]:
    return differences(caps, ledger.state.caps, owns=everybody, at=NOW)


def test_the_packaged_file_caps_every_stage_that_can_cost() -> None:
    caps = load(PACKAGED)

    assert caps[CapKey("default", "transcribe", "hour")].amount == 1_000_000
    assert caps[CapKey("default", "summarize", "day")].amount == 20_000_000
    assert {key.scope for key in caps} == {"transcribe", "summarize", "embed", "search", "total"}


def test_a_new_log_gets_all_caps_and_then_is_open() -> None:
    ledger = Partition(caps_are_in=False)
    requests = missing(ledger, load(PACKAGED))

    assert (requests[-1].account, requests[-1].scope, requests[-1].window) == LAST_CAP_AT_START
    ledger.ask(*requests[:-1])
    assert ledger.ask_one(reserve("1", 1)).outcome == "invalid", "not before the last cap is in"
    ledger.ask(requests[-1])

    assert ledger.ask_one(reserve("1", 1_000_001)).outcome == "denied"
    assert missing(ledger, load(PACKAGED)) == []


def test_a_cap_set_by_a_person_survives_until_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "budgets.toml"
    file.write_text('[default.embed]\nhour = "1"\n')
    ledger = Partition(caps_are_in=False)
    ledger.ask(*missing(ledger, load(file)))
    ledger.ask(set_cap("hour", 5, scope="embed"))

    assert missing(ledger, load(file)) == []

    file.write_text('[default.embed]\nhour = "2"\n')
    (changed,) = missing(ledger, load(file))
    assert (changed.scope, changed.cap_micro_usd) == ("embed", 2_000_000)


def test_a_cap_that_leaves_the_file_is_lifted(tmp_path: Path) -> None:
    file = tmp_path / "budgets.toml"
    file.write_text('[accounts.a.embed]\nhour = "1"\n')
    ledger = Partition(caps_are_in=False)
    ledger.ask(*missing(ledger, load(file)))

    file.write_text("")
    (changed,) = missing(ledger, load(file))

    assert (changed.account, changed.scope, changed.window, changed.cap_micro_usd) == ("a", "embed", "hour", None)


def test_an_accounts_caps_go_only_where_it_lives(tmp_path: Path) -> None:
    file = tmp_path / "budgets.toml"
    file.write_text('[accounts.stranger.embed]\nhour = "1"\n')

    assert {request.account for request in missing(Partition(), load(file))} == {"default"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[default.embed]\nhour = 0.5\n", "default.embed.hour"),
        ('[default.embed]\nhour = "-1"\n', "cannot be spent|can be spent"),
        ('[default.embed]\nhours = "1"\n', "default.embed.hours"),
        ('[default.embed]\nmode = "loud"\n', "default.embed.mode"),
        ('[default.embed]\nhour = "99999999999"\n', "ten million"),
        ("[default", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "budgets.toml"
    file.write_text(text)

    with pytest.raises(ConfigurationError, match=complaint):
        load(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "none.toml")
