"""Cuts text without paragraphs into a few sentences each, with their neighbours as context. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.embed_agent.domain import Chunk, CountTokens, SplitSentences
from services.embed_agent.sizes import ANY, few
from services.embed_agent.words import parts

MOST_TOKENS = 300
_CONTEXT = 6
# A sentence of up to a sixth of a chunk is context on either side; a chunk's own sentences have what is left.


@dataclass(frozen=True)
class _Sentence:
    text: str
    tokens: int


def sentence_chunks(text: str, count: CountTokens, split: SplitSentences, longest: int = ANY) -> list[Chunk]:
    """Chunks of up to 300 tokens, in order: a few sentences, the one before them and the one behind them.

    So what a sentence refers to ("it", "there") is in its chunk. A neighbour is left out where it is long. A sentence
    that is larger than a chunk is cut between words. A text that would make more than 30 chunks gets larger ones.

    :param longest: most tokens that the model takes; goes before the other limits.
    """
    sentences = [_Sentence(sentence, count(sentence.rstrip(" "))) for sentence in split(text) if sentence.strip()]

    def cut(size: int) -> list[str]:
        context = size // _CONTEXT
        return list(_with_context(_groups(sentences, count, size - 2 * context), context))

    return few(cut, text, count, usual=MOST_TOKENS, longest=longest)


def _groups(sentences: Sequence[_Sentence], count: CountTokens, most: int) -> list[list[_Sentence]]:
    """Neighbours, together while they are at most `most` tokens."""
    groups: list[list[_Sentence]] = []
    room = 0
    for sentence in _small(sentences, count, most):
        if not groups or sentence.tokens > room:
            groups.append([])
            room = most
        groups[-1].append(sentence)
        room -= sentence.tokens
    return groups


def _small(sentences: Sequence[_Sentence], count: CountTokens, most: int) -> Iterator[_Sentence]:
    for sentence in sentences:
        if sentence.tokens <= most:
            yield sentence
        else:
            words = (_Sentence(word, count(word.rstrip(" "))) for word in parts(sentence.text, count, most))
            yield from _filled(words, most)


def _filled(words: Iterator[_Sentence], most: int) -> Iterator[_Sentence]:
    texts: list[str] = []
    tokens = 0
    for word in words:
        if texts and tokens + word.tokens > most:
            yield _Sentence("".join(texts), tokens)
            texts, tokens = [], 0
        texts.append(word.text)
        tokens += word.tokens
    if texts:
        yield _Sentence("".join(texts), tokens)


def _with_context(groups: Sequence[Sequence[_Sentence]], context: int) -> Iterator[str]:
    said = 0
    for number, group in enumerate(groups):
        if number < said:
            continue
        before = [one for one in (groups[number - 1][-1:] if number else []) if one.tokens <= context]
        following = groups[number + 1] if number + 1 < len(groups) else []
        after = [one for one in following[:1] if one.tokens <= context]
        if after and len(following) == 1:
            said = number + 2  # all of the next group is said here: a chunk of it would say nothing new
        yield "".join(one.text for one in (*before, *group, *after)).strip()
