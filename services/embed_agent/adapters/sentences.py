"""Sentences, by the rules of sentencex, which know abbreviations in many languages."""

from __future__ import annotations

import sentencex


def split_sentences(text: str) -> list[str]:
    """Sentences in order with the space behind them; joined they are the text again.

    English rules: other languages share most of them, and sentencex falls back to them for those it does not know.
    """
    return [str(sentence) for sentence in sentencex.segment("en", text)]
