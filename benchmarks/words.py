"""Word error rates, of words alone: neither case nor punctuation counts. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import jiwer


def wer(words: str, heard: str) -> float:
    """Word error rate, in per cent."""
    return wer_in_sum([(words, heard)])


def wer_in_sum(files: Sequence[tuple[str, str]]) -> float:
    """Errors in all files by the words in all, in per cent; of each file what was said and what was heard."""
    return round(100 * jiwer.wer([_plain(words) for words, _ in files], [_plain(heard) for _, heard in files]), 2)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))
