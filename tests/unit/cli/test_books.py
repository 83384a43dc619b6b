"""Where `millrace budget audit` and `rebuild` look."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from millrace.cli.books import addresses
from millrace.cli.main import app
from millrace.embedded.paths import StackPaths, default_data
from millrace.errors import Unavailable

PLACES = {"kafka": "127.0.0.1:1", "registry": "http://127.0.0.1:2", "postgres": "postgresql://u:secret@127.0.0.1:3/m"}
NAMED = {f"MILLRACE_{name.upper()}": f"named {name}" for name in PLACES}


@pytest.fixture
def run_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a running stack would say where it is."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    file = StackPaths(default_data()).run
    file.parent.mkdir(parents=True)
    return file


def test_the_running_stack_is_taken_unless_all_three_are_named(run_file: Path) -> None:
    run_file.write_text(json.dumps({**PLACES, "gateway": None, "pids": {}}))
    found = addresses({"MILLRACE_KAFKA": "half", "HOME": "/"})
    assert found == {"HOME": "/", **{f"MILLRACE_{name.upper()}": value for name, value in PLACES.items()}}
    assert addresses(NAMED) == NAMED


@pytest.mark.parametrize("content", [None, "", "{}", '{"kafka": "x"}'])
def test_where_nothing_runs_both_ways_out_are_said(run_file: Path, content: str | None) -> None:
    if content is not None:
        run_file.write_text(content)
    with pytest.raises(Unavailable, match=r"millrace up.*MILLRACE_POSTGRES"):
        addresses({})
    result = CliRunner().invoke(app, ["budget", "audit"], env=dict.fromkeys(NAMED, ""))
    assert (result.exit_code, result.stderr.count("\n")) == (69, 1)
