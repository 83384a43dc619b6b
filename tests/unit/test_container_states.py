"""How containers stand, out of what Compose says."""

from __future__ import annotations

import json

import pytest

from scripts.containers.state import Container, containers, progress

HEALTHY = {"Service": "kafka-1", "State": "running", "Health": "healthy", "ExitCode": 0}
JOB = {"Service": "setup", "State": "exited", "Health": "", "ExitCode": 0}


@pytest.mark.parametrize("text", [f"{json.dumps(HEALTHY)}\n{json.dumps(JOB)}\n", json.dumps([HEALTHY, JOB])])
def test_both_forms_of_compose_are_read(text: str) -> None:
    assert containers(text) == {
        "kafka-1": Container("kafka-1", "running", "healthy", 0),
        "setup": Container("setup", "exited", "", 0),
    }


def test_nothing_is_no_container() -> None:
    assert containers("\n") == {}
    assert containers("[]") == {}


@pytest.mark.parametrize(
    ("one", "done", "failed", "words"),
    [
        (Container("x", "running", "healthy", 0), True, False, "healthy"),
        (Container("x", "running", "", 0), True, False, "running"),
        (Container("x", "running", "starting", 0), False, False, "starting"),
        (Container("x", "running", "unhealthy", 0), False, False, "unhealthy"),
        (Container("x", "created", "", 0), False, False, "created"),
        (Container("x", "restarting", "", 1), False, False, "restarting"),
        (Container("x", "exited", "", 0), True, False, "exited"),
        (Container("x", "exited", "", 137), False, True, "over, with status 137"),
        (Container("x", "dead", "", 1), False, True, "over, with status 1"),
    ],
)
def test_how_one_stands(one: Container, done: bool, failed: bool, words: str) -> None:
    assert (one.done, one.failed, one.words) == (done, failed, words)


def test_progress_names_what_is_waited_for() -> None:
    found = {"a": Container("a", "running", "healthy", 0), "b": Container("b", "running", "starting", 0)}
    assert progress(["a", "b", "c"], found) == "1 of 3 are up; not yet: b (starting), c (waits)"
    assert progress(["a"], found) == "1 of 1 are up"
