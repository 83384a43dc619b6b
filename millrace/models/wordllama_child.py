"""WordLlama inside a child process."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from itertools import chain

from pydantic import JsonValue

from millrace.models.child.program import Answer, Tell, Work
from millrace.models.wordllama import Measured, Texts, WordLlamaModel


def load(_: Mapping[str, JsonValue]) -> Work:
    """Answers `Texts` with `Measured` and the vectors."""
    model = WordLlamaModel()

    def work(question: bytes, _: bytes, __: Tell) -> Answer:
        embedded = model.embed_now(Texts.model_validate_json(question).texts)
        numbers = array("f", chain.from_iterable(embedded.vectors))
        return Measured(tokens=embedded.use.tokens_in, seconds=embedded.use.seconds), numbers.tobytes()

    return work
