from __future__ import annotations

import time

import pytest

from services.summarize_agent.complexity import Complexity, complexity_of

PLAIN = "The mill is old. It stands by the river. The miller opens the gate. "
LONG_WORDS = "Hydrodynamic considerations determine turbine efficiency. Nevertheless, sedimentation accumulates. "
LONG_SENTENCE = (
    "the water that comes from the hill and goes by the old mill and on to the sea and then back again " * 3
)
CODE = "```\nx = 1\n```\n"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (PLAIN, "simple"),
        ("", "simple"),
        (PLAIN * 100, "simple"),
        (PLAIN * 200, "between"),
        (LONG_WORDS, "between"),
        (PLAIN + CODE, "between"),
        ("水車は川の水で回る。水車小屋の主人は水門を開ける。", "between"),
        (PLAIN * 500 + CODE, "between"),
        (CODE + LONG_WORDS * 400, "complex"),
        (f"{LONG_SENTENCE}. {LONG_WORDS.replace('.', ',') * 5} {CODE}", "complex"),
        (PLAIN * 4000, "complex"),
        ("1 22 333 4444 " + PLAIN, "between"),
    ],
)
def test_the_rule_is_as_it_is_written_down(text: str, kind: Complexity) -> None:
    assert complexity_of(text) == kind


def test_a_long_text_is_judged_in_no_time() -> None:
    before = time.process_time()
    complexity_of("mill 1. " * 60_000)
    assert time.process_time() - before < 0.5
