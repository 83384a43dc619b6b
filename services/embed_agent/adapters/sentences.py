"""Sentences, by the rules of sentencex, which know abbreviations in many languages."""

from __future__ import annotations

import sentencex

_STRETCH = 2_000
"""Characters that are read at once: sentencex takes time by the square of a paragraph that is not ASCII."""


def split_sentences(text: str) -> list[str]:
    """Sentences in order with the space behind them; joined they are the text again.

    English rules: other languages share most of them, and sentencex falls back to them for those it does not know.
    """
    sentences: list[str] = []
    at, length = 0, _STRETCH
    while at < len(text):
        found = [str(sentence) for sentence in sentencex.segment("en", text[at : at + length])]
        if at + length >= len(text):
            return sentences + found
        # The last one may go on behind the stretch: it is read again, and more of it if it is the only one.
        if len(found) > 1:
            sentences += found[:-1]
            at += sum(map(len, found[:-1]))
            length = _STRETCH
        else:
            length *= 2
    return sentences
