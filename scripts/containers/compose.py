"""`docker compose` over compose.kafka.yml."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .console import CONFIGURATION, UNAVAILABLE, Stopped
from .state import Container, containers

FILE: Final = Path(__file__).resolve().parents[2] / "compose.kafka.yml"
OLDEST: Final = (2, 24)
"""Compose of early 2024, the first that knows all that the file says."""
_ANSWERS_WITHIN_S: Final = 60.0


class Compose:
    """`docker compose` over compose.kafka.yml."""

    def __init__(self, profiles: Sequence[str] = ()) -> None:
        chosen = [word for profile in profiles for word in ("--profile", profile)]
        self._words = ("docker", "compose", "--file", str(FILE), *chosen)

    def check(self) -> None:
        """Whether Docker and a Compose that is new enough are here, and answer.

        :raises Stopped: they are not.
        """
        try:
            asked = _run("docker", "compose", "version", "--short")
        except FileNotFoundError:
            raise Stopped(
                "There is no program `docker`: install Docker Engine with its Compose plugin, or run `make up`, "
                "which needs no containers.",
                CONFIGURATION,
            ) from None
        numbers = re.match(r"v?(\d+)\.(\d+)", asked.stdout.strip())
        if asked.returncode != 0 or numbers is None:
            raise Stopped("`docker` has no Compose plugin: install docker-compose-plugin.", CONFIGURATION)
        if (int(numbers[1]), int(numbers[2])) < OLDEST:
            raise Stopped(
                f"Docker Compose {asked.stdout.strip()} is too old: {OLDEST[0]}.{OLDEST[1]} or newer is needed.",
                CONFIGURATION,
            )
        daemon = _run("docker", "version", "--format", "{{.Server.Version}}")
        if daemon.returncode != 0:
            raise Stopped(
                f"Docker does not answer (does its daemon run, and may you use it?): {_first_line(daemon.stderr)}",
                UNAVAILABLE,
            )

    def services(self) -> list[str]:
        """The services that a start starts."""
        return sorted(self.ask("config", "--services").split())

    def look(self) -> dict[str, Container]:
        """The containers as they are now."""
        return containers(self.ask("ps", "--all", "--format", "json"))

    def ask(self, *words: str) -> str:
        """What a command prints.

        :raises Stopped: it failed; the sentence has its last line.
        """
        done = _run(*self._words, *words)
        if done.returncode != 0:
            raise Stopped(f"docker compose {words[0]} failed: {last_line(done.stderr)}")
        return done.stdout

    def begin(self, *words: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a command that takes its time; what it says goes to a file."""
        with log.open("wb") as output:
            return subprocess.Popen(
                (*self._words, *words), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def last_lines(self, service: str) -> str:
        """The end of a service's log."""
        return _run(*self._words, "logs", "--no-log-prefix", "--tail", "5", service).stdout.strip()


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_patience(words)
        )
    except subprocess.TimeoutExpired:
        raise Stopped(f"`{' '.join(words[:3])}` does not end: does Docker's daemon answer?", UNAVAILABLE) from None


def _patience(words: Sequence[str]) -> float:
    return 600.0 if "down" in words else _ANSWERS_WITHIN_S  # a stop waits for what services are at


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "it does not say why")


def last_line(text: str) -> str:
    """The last line that says something."""
    return _first_line("\n".join(reversed(text.splitlines())))
