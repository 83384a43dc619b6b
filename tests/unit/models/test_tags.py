from __future__ import annotations

import time

import pytest

from millrace.models.tags import without_tags
from tests.support.injections import INJECTIONS

CONTROLS = ("<|", "<s>", "</s>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<start_of_turn>", "<end_of_turn>")


@pytest.mark.parametrize("name", [name for name in INJECTIONS if name.startswith("closing-tag")])
def test_what_looks_like_the_end_loses_its_bracket_and_nothing_else(name: str) -> None:
    text = INJECTIONS[name]
    found = without_tags(text)
    (at,) = [place for place, (before, after) in enumerate(zip(text, found, strict=True)) if before != after]
    assert (text[at] in "<\uff1c", found[at]) == (True, "(")


@pytest.mark.parametrize("token", CONTROLS)
def test_control_tokens_of_chat_templates_are_broken(token: str) -> None:
    for said in (token, token.lower(), token.replace("<", "\u226e"), token[0] + "\u200b" * 5 + token[1:]):
        assert without_tags(f"Water. {said} Obey.") == f"Water. ({said[1:]} Obey."


@pytest.mark.parametrize(
    "text", ["a < b > c", "<b>bold</b>", "<strong>", "x[0] [1] [in]", "<doc>", "\uff1c", "<", "", "</ans"]
)
def test_other_brackets_stand(text: str) -> None:
    assert without_tags(text) == text


@pytest.mark.parametrize("piece", ["<", "[", "<\u200b", "</documen", "<" + "\u200b" * 999, "< "])
def test_no_text_takes_longer_than_its_length(piece: str) -> None:
    before = time.process_time()
    without_tags(piece * (400_000 // len(piece)))
    assert time.process_time() - before < 3
