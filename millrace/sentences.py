"""Sentences, by the rules of sentencex, which know abbreviations in many languages."""

from __future__ import annotations

from typing import Final

import sentencex

# Characters that are read at once. sentencex takes time by the square of a paragraph that is not ASCII (1 million
# Chinese characters: 173 s), and forgets the blank line behind one of more than 10,000.
_STRETCH: Final = 2_000
_LONGEST: Final = 8_000


def split_sentences(text: str, language: str | None = None) -> list[str]:
    """Sentences in order with the space behind them; joined they are the text again.

    What goes on for more than 8,000 characters is no sentence, and is cut.

    :param language: BCP 47 tag; for those that sentencex does not know it takes the rules of English, which other
        languages share for the most part.
    """
    plain = (language or "en").partition("-")[0].lower()
    sentences: list[str] = []
    at, length = 0, _STRETCH
    while at < len(text):
        found = [str(sentence) for sentence in sentencex.segment(plain, text[at : at + length])]
        if at + length >= len(text) or (len(found) == 1 and length >= _LONGEST):
            read = found
        elif len(found) == 1:
            length *= 2
            continue
        else:
            read = found[:-1]  # the last one may go on behind the stretch: it is read again
        sentences += read
        at += sum(map(len, read))
        length = _STRETCH
    return sentences
