from __future__ import annotations

import logging

from mode.utils.logging import ExtensionFormatter

from millrace.telemetry.logs import OncePerWhile


def record(message: str, *args: object, at: float, level: int = logging.ERROR) -> logging.LogRecord:
    made = logging.LogRecord("aiokafka", level, __file__, 1, message, args, None)
    made.created = at
    return made


def test_an_outage_is_a_line_in_thirty_seconds_that_says_how_many_there_were() -> None:
    once = OncePerWhile(every_s=30)
    lines = [record("Unable connect to node with id %d", 1 + n % 3, at=100 + n / 10) for n in range(650)]
    written = [line.getMessage() for line in lines if once.filter(line)]
    assert written == [
        "Unable connect to node with id 1",
        "Unable connect to node with id 1 (299 more like it since)",
        "Unable connect to node with id 1 (299 more like it since)",
    ]


def test_a_line_that_was_let_through_is_readable_by_fausts_formatter_too() -> None:
    line = record("Unable connect to node with id %s: %s", 1, "100% refused", at=1)
    assert OncePerWhile().filter(line)
    for formatter in (logging.Formatter("%(message)s"), ExtensionFormatter(fmt="%(message)s")):
        assert formatter.format(line).strip() == "Unable connect to node with id 1: 100% refused"


def test_different_troubles_and_plain_information_are_all_written() -> None:
    once = OncePerWhile()
    assert once.filter(record("Heartbeat failed: %s", "rebalance", at=1))
    assert once.filter(record("Heartbeat failed: %s", "unknown member", at=1))
    assert all(once.filter(record("Starting", at=1, level=logging.INFO)) for _ in range(3))


def test_a_librarys_traceback_becomes_the_errors_own_words() -> None:
    line = record("Failed to restore the pool", at=1)
    error = OSError("the database system is starting up")
    line.exc_info = (OSError, error, None)
    assert OncePerWhile().filter(line)
    text = logging.Formatter().format(line)
    assert text == "Failed to restore the pool (OSError: the database system is starting up)"
