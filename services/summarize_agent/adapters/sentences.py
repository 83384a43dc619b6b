"""Sentences, by the rules of sentencex, which know abbreviations in many languages."""

from __future__ import annotations

import sentencex


def split_sentences(text: str, language: str | None) -> list[str]:
    """Sentences in order with the space behind them; joined they are the text again.

    :param language: BCP 47 tag; for those that sentencex does not know it takes the rules of English.
    """
    plain = (language or "en").partition("-")[0].lower()
    return [str(sentence) for sentence in sentencex.segment(plain, text)]
