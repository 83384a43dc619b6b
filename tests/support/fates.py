"""A paid API that fails for good on some texts: it bills what it answers, also with nonsense."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tests.support.provider import Provider

Fate = Literal["works", "nonsense", "busy", "wrong"]
"""`nonsense` is billed and cannot be read; `busy` (HTTP 500) and `wrong` (400, for good) cost nothing."""
_STATUS = {"works": 200, "nonsense": 200, "busy": 500, "wrong": 400}


@dataclass
class Fates:
    """`by_word` says what becomes of a request about a text that has the word; other requests work."""

    provider: Provider
    takes_s: float = 0.5
    by_word: dict[str, Fate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.provider.status = lambda raw: _STATUS[self._of(raw)]
        self.provider.nonsense = lambda raw: self._of(raw) == "nonsense"
        self.provider.delay_s = lambda _: self.takes_s

    def _of(self, raw: bytes) -> Fate:
        return next((fate for word, fate in self.by_word.items() if word.encode() in raw), "works")

    def requests(self, word: str) -> int:
        """How many came about a text with the word, billed or not."""
        return len(self.provider.billed_for(word)) + sum(word.encode() in raw for raw in self.provider.refused)

    def billed_tokens(self, word: str) -> int:
        """What the invoice has for texts with the word."""
        return sum(line.tokens_in + line.tokens_out for line in self.provider.billed_for(word))

    def count(self) -> int:
        """Requests about texts with a fate."""
        return sum(self.requests(word) for word in self.by_word)

    def wait_for_more(self, than: int, within_s: float) -> bool:
        """Wait for a request about a text with a fate; False when none came."""
        with self.provider.arrived:
            return self.provider.arrived.wait_for(lambda: self.count() > than, within_s)
