"""What `millrace replay` refuses by itself, and how it shows what was replayed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.console import Console
from typer.testing import CliRunner

from millrace.cli.main import app
from millrace.cli.replay import Replays, ReplayView, listing, program

PLACES = {
    "MILLRACE_KAFKA": "127.0.0.1:1",
    "MILLRACE_REGISTRY": "http://127.0.0.1:1",
    "MILLRACE_POSTGRES": "postgresql://u:p@127.0.0.1:1/m",
}


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ([], 78, "Name the stage that shall work again: media, transcribe, summarize, embed."),
        (["--resume", "nonsense"], 78, "There is no replay nonsense"),
        (["--resume", "cooking-1a2b3c4d"], 78, "There is no replay cooking-1a2b3c4d"),
        (["--list"], 69, "PostgreSQL does not answer"),
        (["cooking"], 2, "cooking"),
        (["embed", "--rate", "0"], 2, "--rate"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_a_sentence(words: list[str], status: int, sentence: str) -> None:
    result = CliRunner().invoke(app, ["replay", *words], env=PLACES)
    assert (result.exit_code, result.stdout) == (status, "")
    assert sentence in result.stderr


def test_the_stages_own_program_runs_with_the_options() -> None:
    argv = program("embed", ["--share", "a"])
    assert argv[-5:] == ["-m", "services.embed_agent", "replay", "--share", "a"]


def test_a_list_shows_how_far_each_is_and_what_came_of_it() -> None:
    replay = ReplayView(
        replay_id="embed-1a2b3c4d",
        stage="embed",
        state="stopped",
        options={},
        commands=9,
        published=4,
        jobs={"parked": 1, "done": 3},
        created_at=datetime(2026, 11, 27, 12, 30, tzinfo=UTC),
    )
    console = Console(width=200, record=True, file=None, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(listing(Replays(replays=[replay])))
    assert captured.get().splitlines()[1].split() == [
        *("2026-11-27", "12:30", "embed-1a2b3c4d", "4", "of", "9", "stopped", "3", "done,", "1", "parked")
    ]
    assert "Nothing was replayed yet." in str(listing(Replays(replays=[])).renderables)
