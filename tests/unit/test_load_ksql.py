"""The job that gives ksqlDB its statements, run as a program; ksqlDB is stood in for, as no public package has it."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.compose_file import ROOT
from tests.support.process import free_port
from tests.support.web import QuietHandler, served

PROGRAM: Final = ROOT / "deploy" / "compose" / "load_ksql.py"
TEXT: Final = """-- What follows; is a comment.
SET 'auto.offset.reset' = 'earliest';
CREATE STREAM one (k STRING KEY) WITH (KAFKA_TOPIC = 'it''s; one'); -- behind
CREATE TABLE two AS SELECT a - b AS c FROM one;
"""


class KsqlDB(QuietHandler):
    """Takes each name once, as ksqlDB does."""

    taken: Final[list[dict[str, object]]] = []

    def do_POST(self) -> None:  # noqa: N802 - as http.server names it
        asked = json.loads(self.body())
        if self.path != "/ksql" or "nonsense" in asked["ksql"]:
            said = {"@type": "statement_error", "error_code": 40001, "message": "line 1:1: mismatched input\nmore"}
        elif asked in self.taken:
            said = {
                "error_code": 40001,
                "message": "Cannot add stream 'ONE': A stream with the same name already exists",
            }
        else:
            self.taken.append(asked)
            self.answer(200, "application/json", b"[{}]")
            return
        self.answer(400, "application/json", json.dumps(said).encode())


@pytest.fixture
def url() -> Iterator[str]:
    KsqlDB.taken.clear()
    with served(KsqlDB) as address:
        yield f"http://{address}"


def run(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-I", PROGRAM, url, folder), capture_output=True, text=True, check=False, timeout=30
    )


def test_statements_are_found_between_comments_and_quotes() -> None:
    statements = runpy.run_path(str(PROGRAM))["statements"]
    assert list(statements(TEXT)) == [
        "SET 'auto.offset.reset' = 'earliest';",
        "CREATE STREAM one (k STRING KEY) WITH (KAFKA_TOPIC = 'it''s; one');",
        "CREATE TABLE two AS SELECT a - b AS c FROM one;",
    ]


def test_all_are_given_with_what_was_set_and_may_be_given_again(url: str, tmp_path: Path) -> None:
    (tmp_path / "statements.sql").write_text(TEXT)
    done = run(url, tmp_path)
    assert (done.returncode, done.stdout) == (0, "statements.sql: 2 statements taken, 0 were there\n")
    assert [one["streamsProperties"] for one in KsqlDB.taken] == [{"auto.offset.reset": "earliest"}] * 2
    assert run(url, tmp_path).stdout == "statements.sql: 0 statements taken, 2 were there\n"


def test_one_that_is_refused_ends_it_with_the_reason(url: str, tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("CREATE nonsense;\nCREATE STREAM one;")
    done = run(url, tmp_path)
    assert (done.returncode, KsqlDB.taken) == (1, [])
    assert done.stderr == "ksqlDB refuses `CREATE nonsense;`: line 1:1: mismatched input\n"


def test_where_nobody_answers_or_nothing_is_to_be_said_it_fails(tmp_path: Path) -> None:
    assert "There are no statements" in run("http://127.0.0.1:1", tmp_path).stderr
    (tmp_path / "a.sql").write_text(TEXT)
    done = run(f"http://127.0.0.1:{free_port()}", tmp_path)
    assert done.returncode == 1
    assert "ksqlDB does not answer" in done.stderr
