"""What scripts/start and scripts/stop say, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

FAILED, UNAVAILABLE, TEMPORARY, CONFIGURATION = 1, 69, 75, 78
STATUSES: Final = (
    "Exit status: 0 done, 1 a part failed, 69 Docker does not answer, 75 not healthy in time, 78 something must be "
    "installed or said first."
)


class Stopped(Exception):
    """It cannot go on; the text is a sentence for the operator, `status` the exit status."""

    def __init__(self, text: str, status: int = FAILED) -> None:
        super().__init__(text)
        self.status = status


def told(work: Callable[[], None]) -> int:
    """Exit status of the work; what stopped it is said in a sentence."""
    try:
        work()
    except Stopped as exc:
        say(str(exc))
        return exc.status
    except KeyboardInterrupt:
        say("interrupted; scripts/stop stops what was started")
        return 130
    return 0


def say(text: str) -> None:
    """A line for the operator, beside what is printed for programs."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def show(text: str) -> None:
    """A line of the answer."""
    sys.stdout.write(f"{text}\n")
