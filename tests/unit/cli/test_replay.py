"""What `millrace replay` refuses by itself, and how it shows what was replayed."""

from __future__ import annotations

import math
import os
from datetime import UTC, datetime

import pytest
from rich.console import Console
from typer.testing import CliRunner

from millrace.cli.main import app
from millrace.cli.replay import Replays, ReplayView, listing
from millrace.stream.replay.options import ReplayOptions, read_options

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
        (["summarize", "--chunker", "fixed"], 78, "The stage summarize cuts no texts"),
        (["embed", "--rate", "0"], 2, "--rate"),
        (["embed", "--rate", "nan"], 2, "--rate"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_a_sentence(words: list[str], status: int, sentence: str) -> None:
    result = CliRunner().invoke(app, ["replay", *words], env=PLACES)
    assert (result.exit_code, result.stdout) == (status, "")
    assert sentence in result.stderr


class Begun(Exception):
    """The program that would take this one's place."""


def test_the_stages_own_program_is_handed_all_options(monkeypatch: pytest.MonkeyPatch) -> None:
    def execve(_path: str, argv: list[str], _environment: dict[str, str]) -> None:
        raise Begun(argv)

    monkeypatch.setattr(os, "execve", execve)
    words = ["embed", *("--since", "24h"), *("--share", "a"), *("--share", "-b\udcff"), "--force", *("--model", "{}")]
    words += [
        *("--backend", "local"),
        *("--chunker", "fixed"),
        "--dry-run",
        *("--rate", "inf"),
        "--json",
        *("--offsets", "t:0:1-2"),
        *("--resume", "embed-1"),
    ]
    with pytest.raises(Begun) as begun:
        CliRunner().invoke(app, ["replay", *words], env=PLACES, catch_exceptions=False)
    *program, options = begun.value.args[0]
    assert program[-3:] == ["-m", "services.embed_agent", "replay"]
    assert read_options([options]) == ReplayOptions(
        since="24h",
        offsets=("t:0:1-2",),
        shares=("a", "-b\udcff"),
        force=True,
        model="{}",
        more={"backend": "local", "chunker": "fixed"},
        dry_run=True,
        rate=math.inf,
        resume="embed-1",
        as_json=True,
    )


def test_more_shares_than_a_command_line_holds_are_refused_in_a_sentence() -> None:
    shares = [word for number in range(20_000) for word in ("--share", f"share-{number}")]
    result = CliRunner().invoke(app, ["replay", "embed", *shares], env=PLACES)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "replay fewer at a time" in result.stderr


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
