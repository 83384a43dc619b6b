"""What summarising needs from outside."""

from __future__ import annotations

from typing import Protocol

from millrace.models.port import Paid
from millrace.money import MicroUSD
from services.summarize_agent.domain import Answer, Backend


class Summarizer(Protocol):
    """Makes summaries, here or behind an API."""

    @property
    def backend(self) -> Backend:
        """extractive: sentences of the text itself, chosen on this machine; api: a language model."""
        ...

    @property
    def model(self) -> str:
        """Name of the model: a part of the work key, so another model is other work."""
        ...

    @property
    def version(self) -> int:
        """Version of the prompt or the method: another one is other work, too."""
        ...

    @property
    def tries(self) -> int:
        """How often it is asked before an answer in the wrong form is final; each time is a call that is paid for."""
        ...

    def most(self, text: str) -> MicroUSD:
        """The most that one call about this text can cost."""
        ...

    async def summarize(self, text: str, language: str | None) -> Paid[Answer]:
        """Ask once.

        :param language: BCP 47 tag of the text, when it is known.
        :raises Retryable: nothing was paid, later it may work.
        :raises Poison: nothing was paid, and it never will work.
        :raises UnknownOutcome: it may have been paid.
        """
        ...
