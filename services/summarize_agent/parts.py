"""How a long text is cut, how its parts' summaries are put together, and which call is which. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.summarize_agent.domain import Cut, Summary

CountTokens = Callable[[str], int]
"""Tokens of a text, as the model counts them, or never too few."""
SplitSentences = Callable[[str, str | None], list[str]]
"""Sentences of a text in a language (BCP 47), in order; joined they are the text again."""

TRIES: Final = 2
"""How often a model is asked for one summary: the second time it is shown what was wrong with the first."""
MOST_PARTS: Final = 100
"""Most parts that any settings allow. Numbers of calls are made with it, so another one is another numbering."""
FAN: Final = 6
"""Summaries of parts are kept so short that at least so many fit into one call: so each level has fewer of them."""
BETWEEN: Final = 4
"""Tokens of an empty line between two summaries, and more."""
_LONGEST_TOKEN: Final = 20  # characters; a word of more than a part full of them is cut without counting


@dataclass(frozen=True)
class Limits:
    """Most tokens of a text in one call, and most parts of a text."""

    part_tokens: int
    most_parts: int


def call_number(level: int, part: int, attempt: int) -> int:
    """Number of a call: the same at every attempt of the work, whatever the settings are.

    :param level: 0 for parts of the text, 1 for summaries of these, and so on.
    :param attempt: from 0, below `TRIES`.
    """
    return (level * MOST_PARTS + part) * TRIES + attempt


def cut(text: str, sentences: Sequence[str], count: CountTokens, limits: Limits) -> Cut:
    """Cuts a text between sentences into as few parts as there can be, of about the same size.

    Sentences that are longer than a part are cut between words, and words that are, anywhere. No part is blank.

    :param sentences: of the text, in order; joined they are the text.
    """
    pieces = [
        (piece, count(piece)) for sentence in sentences for piece in _small(sentence, count, limits.part_tokens)
    ]
    total = sum(tokens for _, tokens in pieces)
    fewest = -(-total // limits.part_tokens) or 1
    # Every full part then has more than its share, so that there are no more parts than if each were filled.
    even = -(-total // fewest) + max((tokens for _, tokens in pieces), default=0)
    # What is left out anyway should be no more than it has to be.
    most = limits.part_tokens if fewest > limits.most_parts else min(even, limits.part_tokens)
    ends = packed([tokens for _, tokens in pieces], most)
    at, places = 0, [0]
    for piece, _ in pieces:
        at += len(piece)
        places.append(at)
    found = _not_blank(text, [places[end] for end in ends])
    return Cut(found[: limits.most_parts], truncated=len(found) > limits.most_parts)


def _not_blank(text: str, ends: Sequence[int]) -> tuple[int, ...]:
    """The ends of parts, without those of blank ones: such a part goes with its neighbour, and is not paid for."""
    found = [part.stop for part in slices(ends) if text[part].strip()]
    return (*found[:-1], len(text))


def packed(sizes: Sequence[int], most: int) -> tuple[int, ...]:
    """Neighbours put together while they are at most `most` in all: the end of every group, as an index."""
    ends: list[int] = []
    held = 0
    for at, size in enumerate(sizes):
        if held and held + size > most:
            ends.append(at)
            held = 0
        held += size
    return (*ends, len(sizes)) if sizes else ()


def slices(ends: Sequence[int]) -> list[slice]:
    """What lies between neighbouring ends."""
    return [slice(start, end) for start, end in zip((0, *ends), ends, strict=False)]


def partial(
    summary: Summary, number: int, sentences: Callable[[str], list[str]], count: CountTokens, most: int
) -> str:
    """A part's summary as it is read by whoever puts the parts together, cut behind a sentence if it is too long.

    :param number: of the part, from 1.
    :param most: tokens.
    """
    head = f"Part {number}:\n"
    said = "\n".join([summary.summary, *(f"- {point}" for point in summary.key_points)])
    room = most - count(head) - BETWEEN
    kept, held = "", 0
    for piece in (piece for sentence in sentences(said) for piece in _small(sentence, count, max(room, 1))):
        held += count(piece)
        if held > room:
            break
        kept += piece
    return f"{head}{kept.rstrip()}"


def together(partials: Sequence[str]) -> str:
    """Summaries of parts as one text."""
    return "\n\n".join(partials)


def most_groups(parts: int) -> Iterator[int]:
    """How many calls each level above the parts can come to, from the lowest; the last is one."""
    while parts > 1:
        parts = 1 if parts <= FAN else -(-parts // FAN)
        yield parts


def _small(sentence: str, count: CountTokens, most: int) -> Iterator[str]:
    """The sentence, or pieces of it of at most `most` tokens."""
    if len(sentence) <= most * _LONGEST_TOKEN and (count(sentence) <= most or len(sentence) == 1):
        yield sentence
        return
    middle = len(sentence) // 2
    # Behind the space that is nearest to the middle, in the half around it.
    found = sentence.rfind(" ", middle // 2, middle) + 1 or middle
    yield from _small(sentence[:found], count, most)
    yield from _small(sentence[found:], count, most)
