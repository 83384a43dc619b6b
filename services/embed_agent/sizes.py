"""How large chunks become: as wished, larger for large texts, never larger than the model takes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from services.embed_agent.domain import Chunk, CountTokens
from services.embed_agent.words import joined, parts

MOST_CHUNKS: Final = 30
ANY: Final = 10**9
"""Tokens of a text for a model that takes any."""

_FILLED = 25
# Chunks are not quite full: at this share of the text it rarely makes more than 30 of them.
_LARGER = 1.25


def few(cut: Callable[[int], list[str]], text: str, count: CountTokens, *, usual: int, longest: int) -> list[Chunk]:
    """What `cut` makes of the text at a size in tokens at which that is at most 30 chunks.

    The model's limit goes before that: a call that is refused finds nothing, more chunks only cost more.

    :param cut: cuts at a size, into fewer chunks at a larger one.
    :param usual: the size for texts that do not need a larger one.
    :param longest: most tokens that the model takes.
    """
    size = min(longest, max(usual, count(text) // _FILLED))
    while len(chunks := cut(size)) > MOST_CHUNKS and size < longest:
        size = min(longest, int(size * _LARGER) + 1)
    return [Chunk(part, count(part)) for chunk in chunks for part in within(chunk.rstrip(), count, longest)]


def within(chunk: str, count: CountTokens, longest: int) -> Iterator[str]:
    """The chunk, or parts of it that the model takes: tokens of parts can be fewer than those of the whole."""
    if count(chunk) <= longest:
        yield chunk
    else:
        yield from windows(chunk, count, longest, overlap=0)


def windows(text: str, count: CountTokens, size: int, *, overlap: int) -> Iterator[str]:
    """Stretches of at most `size` tokens, in order; each says up to `overlap` tokens of the one before again.

    They begin and end between words, and inside a word only where it has more than a twentieth of a window's tokens.
    """
    words = list(parts(text, count, max(1, size // 20)))
    sizes = [count(word.rstrip(" ")) for word in words]
    start = new = 0
    while new < len(words):
        end = new + 1
        tokens = sum(sizes[start:end])
        while end < len(words) and tokens + sizes[end] <= size:
            tokens += sizes[end]
            end += 1
        while end > new + 1 and (whole := count(joined(words[start:end]))) > size:
            # The tokens of words do not always add up: as much less as is too much.
            end = _without(sizes, new + 1, end, max(1, (whole - size) * sum(sizes[start:end]) // whole))
        yield joined(words[start:end])
        start, new = _again(sizes, start, end, overlap), end


def _without(sizes: list[int], least: int, end: int, over: int) -> int:
    """Index after the last word when words of `over` tokens are left out, but not those before `least`."""
    while end > least and over > 0:
        end -= 1
        over -= sizes[end]
    return end


def _again(sizes: list[int], start: int, end: int, overlap: int) -> int:
    """Index of the first word that is said again after `end`."""
    tokens, first = 0, end
    while first > start + 1 and tokens + sizes[first - 1] <= overlap:
        first -= 1
        tokens += sizes[first]
    return first
