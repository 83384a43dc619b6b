"""What summarising needs from outside."""

from __future__ import annotations

from typing import Protocol

from millrace.models.port import Paid
from millrace.money import MicroUSD
from services.summarize_agent.domain import Answer, Backend, Task


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

    @property
    def reads_all(self) -> bool:
        """Whether it takes a text of any length at once; otherwise texts are cut by its tokens."""
        ...

    def count(self, text: str) -> int:
        """Tokens of a text: exact where the tokenizer is known, otherwise never too few."""
        ...

    def most(self, task: Task, *, more: int = 0) -> MicroUSD:
        """The most that one call can cost.

        :param more: tokens that the task may yet get.
        """
        ...

    async def summarize(self, task: Task) -> Paid[Answer]:
        """Ask once.

        :raises Retryable: nothing was paid, later it may work.
        :raises Poison: nothing was paid, and it never will work.
        :raises UnknownOutcome: it may have been paid.
        """
        ...
