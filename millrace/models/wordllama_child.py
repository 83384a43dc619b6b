"""WordLlama inside a child process."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from millrace.models.asked_texts import answering
from millrace.models.child.program import Work
from millrace.models.wordllama import WordLlamaModel


def load(_: Mapping[str, JsonValue]) -> Work:
    """Answers `Texts`."""
    return answering(WordLlamaModel().embed_now)
