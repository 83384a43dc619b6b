from __future__ import annotations

from services.embed_agent.batches import calls_of
from services.embed_agent.domain import Chunk


def sizes(tokens: list[int], *, texts: int, most: int) -> list[list[int]]:
    chunks = [Chunk(str(number), number) for number in tokens]
    return [[chunk.tokens for chunk in call] for call in calls_of(chunks, texts=texts, tokens=most)]


def test_a_call_has_so_many_texts_and_tokens_at_most() -> None:
    assert sizes([5, 5, 5, 5, 5], texts=2, most=100) == [[5, 5], [5, 5], [5]]
    assert sizes([5, 5, 5, 1], texts=9, most=10) == [[5, 5], [5, 1]]
    assert sizes([], texts=2, most=10) == []


def test_a_chunk_that_is_too_large_is_a_call_of_its_own() -> None:
    assert sizes([1, 50, 1], texts=9, most=10) == [[1], [50], [1]]
