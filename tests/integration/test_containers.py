"""scripts/start and scripts/stop, run as programs against a stand-in for `docker` that plays healths."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.compose_file import ROOT, SECRETS

STAND_IN: Final = ROOT / "tests" / "support" / "stand_in_docker.py"


def one(service: str, state: str = "running", health: str = "healthy", exit_code: int = 0) -> dict[str, object]:
    """A container as Compose tells it."""
    return {"Service": service, "State": state, "Health": health, "ExitCode": exit_code}


WELL: Final = [one("kafka-1"), one("setup", "exited", "", 0), one("api-gateway")]
PLAY: Final[dict[str, Any]] = {
    "version": "2.40.3",
    "version_status": 0,
    "daemon_says": "",
    "daemon_status": 0,
    "config": "kafka-1\nsetup\napi-gateway",
    "up_says": " Container millrace-kafka-1-1  Healthy",
    "up_s": 0.5,
    "up_status": 0,
    "logs": "the last words",
    "down": "",
    "looks": [[], [one("kafka-1", health="starting")], WELL],
}


class Place:
    """A copy of what the scripts need, with a stand-in on the PATH, so that no test touches the tree's secrets."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.notes = folder / "tree", folder / "notes"
        shutil.copytree(ROOT / "scripts", self.tree / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        self.notes.mkdir()
        (folder / "bin").mkdir()
        program = folder / "bin" / "docker"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -I {STAND_IN} "$@"\n')
        program.chmod(0o755)
        self.bin = folder / "bin"
        self.play()

    def play(self, **others: object) -> None:
        """What the stand-in answers."""
        (self.notes / "play.json").write_text(json.dumps({**PLAY, **others}))

    def run(
        self, script: str, *words: str, said: str = "", path: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a script by the machine's own Python, which knows none of our packages."""
        environment = {"PATH": path or f"{self.bin}:{os.environ['PATH']}", "STAND_IN_DOCKER": str(self.notes)}
        argv = (sys.executable, str(self.tree / "scripts" / script), *words)
        return subprocess.run(
            argv, env=environment, input=said, capture_output=True, text=True, check=False, timeout=60
        )

    @property
    def secrets(self) -> Path:
        """Where the script makes its secrets."""
        return self.tree / SECRETS

    def asked(self, command: str) -> list[list[str]]:
        """Calls of a command of Compose."""
        lines = (self.notes / "asked").read_text().splitlines()
        return [words for line in lines if command in (words := json.loads(line))]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_start_waits_until_all_is_healthy_and_says_where_everything_is(place: Place) -> None:
    done = place.run("start")
    assert done.returncode == 0, done.stderr
    assert "0 of 3 are up; not yet: api-gateway (waits), kafka-1 (waits), setup (waits)" in done.stderr
    assert "kafka-1 (starting)" in done.stderr
    assert done.stderr.splitlines()[-1] == "3 of 3 are up"
    assert "http://127.0.0.1:3000" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("http://127.0.0.1:8080/#sign-in=the-link")
    (up,) = place.asked("up")
    assert up[:3] == ["compose", "--file", str(place.tree / "compose.kafka.yml")]
    assert up[3:] == ["up", "--detach", "--remove-orphans", "--build"]
    assert (place.secrets / "metrics-token").read_text() == "the-token"


def test_json_is_one_document(place: Place) -> None:
    answer = json.loads(place.run("start", "--json", "--no-build").stdout)
    assert answer["link"].endswith("the-link")
    assert answer["urls"]["Jaeger"] == "http://127.0.0.1:16686"
    assert "--build" not in place.asked("up")[0]


def test_the_gpu_is_asked_for_by_a_profile(place: Place) -> None:
    assert place.run("start", "--gpu").returncode == 0
    assert place.asked("up")[0][3:5] == ["--profile", "gpu"]


def test_secrets_are_random_private_and_kept(place: Place) -> None:
    place.run("start")
    assert stat.S_IMODE(place.secrets.stat().st_mode) == 0o700
    files = {file.name: file for file in place.secrets.iterdir() if file.name not in {"start.log", "metrics-token"}}
    assert {name for name, file in files.items() if stat.S_IMODE(file.stat().st_mode) != 0o600} == set()
    before = {name: file.read_text() for name, file in files.items()}
    passwords = json.loads(before["passwords.json"])
    assert len(set(passwords.values())) == len(passwords) == 6
    assert min(map(len, passwords.values())) == 64
    assert passwords["millrace"] in before["database.env"]
    assert passwords["jwt"] not in "".join(text for name, text in before.items() if name[:2] not in {"ga", "pa"})
    (place.secrets / "keys.env").write_text("MILLRACE_OPENAI_API_KEY=mine\n")
    place.run("start")
    after = {name: file.read_text() for name, file in files.items()}
    assert after == {**before, "keys.env": "MILLRACE_OPENAI_API_KEY=mine\n"}


def test_no_secret_is_on_a_command_line_or_said(place: Place) -> None:
    done = place.run("start")
    values = json.loads((place.secrets / "passwords.json").read_text()).values()
    seen = done.stdout + done.stderr + (place.notes / "asked").read_text()
    assert [value for value in values if value in seen] == []


def test_a_job_that_fails_ends_the_start_with_the_end_of_its_log(place: Place) -> None:
    place.play(up_status=1, looks=[[one("kafka-1"), one("setup", "exited", "", 78)]])
    done = place.run("start")
    assert done.returncode == 1
    assert done.stderr.endswith("setup is over, with status 78. The end of its log:\nthe last words\n")


def test_a_container_of_an_earlier_start_that_had_failed_is_not_this_ones(place: Place) -> None:
    place.play(looks=[[one("setup", "exited", "", 78)], WELL])
    assert place.run("start").returncode == 0


def test_a_part_that_stays_ill_ends_the_start(place: Place) -> None:
    place.play(up_status=1, looks=[[one("kafka-1", health="unhealthy")]])
    done = place.run("start")
    assert done.returncode == 1
    assert "kafka-1 is unhealthy." in done.stderr


def test_what_docker_could_not_do_is_said_in_its_own_words(place: Place) -> None:
    place.play(up_status=1, up_says="bind: address already in use\n", looks=[[]])
    done = place.run("start")
    assert done.returncode == 1
    assert "docker compose up failed: bind: address already in use (see " in done.stderr


def test_a_start_that_takes_too_long_says_for_what_it_waited(place: Place) -> None:
    place.play(up_s=30, looks=[[one("kafka-1", health="starting")]])
    done = place.run("start", "--within", "1")
    assert done.returncode == 75
    assert (
        "Not all are healthy after 1 s: 0 of 3 are up; not yet: api-gateway (waits), kafka-1 (starting)"
        in done.stderr
    )


def test_without_docker_the_sentence_says_what_to_do(place: Place) -> None:
    done = place.run("start", path="/nonexistent")
    assert done.returncode == 78
    assert done.stderr.startswith("There is no program `docker`: install Docker Engine")


@pytest.mark.parametrize(
    ("play", "status", "sentence"),
    [
        ({"version_status": 1}, 78, "`docker` has no Compose plugin"),
        ({"version": "2.17.2"}, 78, "Docker Compose 2.17.2 is too old: 2.24 or newer is needed."),
        ({"daemon_status": 1, "daemon_says": "permission denied"}, 69, "may you use it?): permission denied"),
    ],
)
def test_a_docker_that_will_not_do_is_said_before_anything_is_made(
    place: Place, play: dict[str, object], status: int, sentence: str
) -> None:
    place.play(**play)
    done = place.run("start")
    assert done.returncode == status
    assert sentence in done.stderr
    assert not place.secrets.exists()


@pytest.mark.parametrize("version", ["v2.24.0", "5.6.0", "2.30.1-desktop.1"])
def test_newer_ones_will_do(place: Place, version: str) -> None:
    place.play(version=version)
    assert place.run("start").returncode == 0


def test_a_stop_keeps_the_data(place: Place) -> None:
    place.run("start")
    place.play(looks=[[]])
    done = place.run("stop")
    assert (done.returncode, done.stdout) == (0, "All is stopped; its data stays for the next start.\n")
    assert place.asked("down")[0][3:] == ["--profile", "gpu", "down", "--remove-orphans"]


def test_data_is_removed_only_when_somebody_is_sure(place: Place) -> None:
    place.run("start")
    place.play(looks=[[]])
    refused = place.run("stop", "--volumes", said="remove\n")  # nobody sits at a terminal here
    assert (refused.returncode, place.asked("down")) == (78, [])
    assert "say --yes" in refused.stderr
    done = place.run("stop", "--volumes", "--yes", "--json")
    assert json.loads(done.stdout) == {"stopped": True, "data": "removed"}
    assert place.asked("down")[0][-1] == "--volumes"


def test_a_stop_says_what_is_left(place: Place) -> None:
    place.run("start")
    done = place.run("stop")
    assert done.returncode == 1
    assert done.stderr.endswith("Some are still there: api-gateway, kafka-1, setup.\n")


def test_a_stop_before_any_start_says_so(place: Place) -> None:
    done = place.run("stop")
    assert done.returncode == 78
    assert done.stderr.startswith("Nothing was started from this folder")
