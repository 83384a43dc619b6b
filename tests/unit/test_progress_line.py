"""How often progress is told."""

from __future__ import annotations

import pytest

from millrace.progress_line import ProgressPrinter


def test_a_sentence_is_said_every_two_seconds_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    moments = iter([100.0, 101.9, 102.0, 103.9, 104.5])
    tell = ProgressPrinter("millrace", lambda: next(moments))
    for sentence in ("too soon", "first", "too soon", "second"):
        tell(sentence)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "millrace: first\nmillrace: second\n")
