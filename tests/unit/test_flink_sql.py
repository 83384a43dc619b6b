"""What `python -m tests.foreign.flink_sql` takes for agreement."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.foreign.flink import spend_sql
from tests.foreign.flink_sql import TOTAL, Hour, Sums, differences, main

AT = datetime(2026, 1, 2, 3, tzinfo=UTC)
FLINK = {Hour("a", "embed", AT): Sums(5, 1, 0, 2, 2), Hour("a", "summarize", AT): Sums(7, 0, 3, 0, 1)}
LEDGER = FLINK | {Hour("a", TOTAL, AT): Sums(12, 1, 3, 2, 3)}


def test_scopes_that_are_the_same_and_add_up_to_the_ledgers_total_agree() -> None:
    assert differences("journal", LEDGER, FLINK) == []


def test_a_micro_dollar_is_a_difference_in_its_scope_and_in_the_total() -> None:
    off = FLINK | {Hour("a", "embed", AT): Sums(6, 1, 0, 2, 2)}
    assert [line.split(", ")[1] for line in differences("journal", LEDGER, off)] == ["embed", TOTAL]


@pytest.mark.parametrize("missing", LEDGER)
def test_an_hour_that_either_lacks_is_a_difference(missing: Hour) -> None:
    fewer = {hour: sums for hour, sums in LEDGER.items() if hour != missing}
    assert differences("journal", fewer, FLINK)
    assert differences("journal", LEDGER, {}) != []


def test_the_statement_is_asked_where_it_is_told_to() -> None:
    sql = spend_sql("broker:1", "http://registry:2", "x.cost.decisions")
    assert all(f"'{value}'" in sql for value in ("broker:1", "http://registry:2", "x.cost.decisions"))
    assert "${" not in sql.split("CREATE TABLE")[1]


def test_what_could_not_run_is_no_disagreement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def missing() -> None:
        raise RuntimeError("no PyFlink here")

    monkeypatch.setattr("tests.foreign.flink_sql.install", missing)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["--json"]) == 2
    said = capsys.readouterr()
    assert "no PyFlink here" in said.err
    assert '"ok": false' in said.out.splitlines()[-1]
