"""Log lines say what they are about, to people and to programs."""

from __future__ import annotations

import asyncio
import json
import logging
import logging.config
from datetime import datetime, timedelta

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

from millrace.telemetry.log_lines import JsonLines, Labels, Lines, about, log_config

TRACE = 0x0AF7651916CD43DD8448EB211C80319C


def record(**more: object) -> logging.LogRecord:
    made = logging.LogRecord("millrace.stream.runner", logging.WARNING, "x.py", 1, "%s is away", ("Kafka",), None)
    made.__dict__.update(more)
    assert Labels().filter(made)
    return made


async def labelled(share_id: str, job: str) -> logging.LogRecord:
    about(share_id, job)
    span = NonRecordingSpan(SpanContext(TRACE, 7, is_remote=True))
    with trace.use_span(span):
        return await asyncio.create_task(_later())


async def _later() -> logging.LogRecord:
    return record()


async def test_a_line_names_share_job_and_trace_of_its_own_task() -> None:
    one, other = await asyncio.gather(labelled("s-1", "embed:a"), labelled("s-2", "embed:b"))
    assert (
        Lines()
        .format(one)
        .endswith(f"WARNING millrace.stream.runner: Kafka is away [share_id=s-1 job=embed:a trace_id={TRACE:032x}]")
    )
    line = json.loads(JsonLines("embed_agent").format(other))
    time = datetime.fromisoformat(line.pop("time"))
    assert time.utcoffset() == timedelta(0)
    assert line == {
        "level": "WARNING",
        "logger": "millrace.stream.runner",
        "message": "Kafka is away",
        "service": "embed_agent",
        "share_id": "s-2",
        "job": "embed:b",
        "trace_id": f"{TRACE:032x}",
    }


async def test_a_line_about_nothing_says_so_by_silence() -> None:
    assert Lines().format(record()).endswith("Kafka is away")
    line = json.loads(JsonLines("media_agent").format(record()))
    assert not {"share_id", "job", "trace_id"} & line.keys()


async def test_a_line_is_one_line_of_json_with_its_traceback() -> None:
    with pytest.raises(ValueError, match="two") as caught:
        int("two\nlines")
    exc = caught.value
    text = JsonLines("media_agent").format(record(exc_info=(type(exc), exc, exc.__traceback__)))
    assert "\n" not in text
    assert "ValueError: invalid literal" in json.loads(text)["exc_info"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_configuration_is_one_that_python_takes(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    kept, level = list(root.handlers), root.level
    try:
        logging.config.dictConfig(log_config("x", "INFO", "json" if form == "json" else "text"))
        logging.getLogger("some.where").info("said %d times", 3)
        said = capsys.readouterr().err
    finally:
        root.handlers[:], root.level = kept, level
    assert "said 3 times" in said
    assert said.count("\n") == 1
