"""Cuts any text into windows of a fixed number of tokens. Pure."""

from __future__ import annotations

from services.embed_agent.domain import Chunk, CountTokens
from services.embed_agent.sizes import ANY, few, windows

WINDOW_TOKENS = 500
OVERLAP = 0.10


def fixed_chunks(text: str, count: CountTokens, longest: int = ANY) -> list[Chunk]:
    """Windows of up to 500 tokens, in order, of which each says up to a tenth of the one before again.

    A text that would make more than 30 windows gets larger ones.

    :param longest: most tokens that the model takes; goes before the other limits.
    """

    def cut(size: int) -> list[str]:
        return list(windows(text, count, size, overlap=int(size * OVERLAP)))

    return few(cut, text, count, usual=WINDOW_TOKENS, longest=longest)
