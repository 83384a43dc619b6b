"""Summaries without a language model, by child processes: `extractive_child.py` says how sentences are chosen."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel

from millrace.models import wordllama
from millrace.models.child.pool import ChildPool
from millrace.models.child.process import Recipe
from millrace.models.port import Paid, Use
from millrace.models.tariffs import PerSecond
from millrace.money import MicroUSD
from millrace.text import count_words
from services.summarize_agent.domain import Answer, Backend, Summary, Task

MODEL = f"lexrank-{wordllama.NAME}"
RECIPE = Recipe(MODEL, "services.summarize_agent.adapters.extractive_child:load", {})


class Text(BaseModel):
    """What a child is asked to summarise; `language` is a language's own tag, without a region."""

    text: str
    language: str


class Chosen(BaseModel):
    """The child's answer and the seconds that it took."""

    summary: Summary
    seconds: float


class ExtractiveSummarizer:
    """Chooses sentences and keywords on this machine; implements `Summarizer`."""

    backend: Backend = "extractive"
    model = MODEL
    version = 2
    tries = 1
    reads_all = True

    def __init__(self, children: ChildPool, price_per_second: Decimal) -> None:
        self._children = children
        self._tariff = PerSecond(price_per_second)

    def count(self, text: str) -> int:
        """Words."""
        return count_words(text)

    def most(self, task: Task, *, more: int = 0) -> MicroUSD:
        """A second, and one more for every 1000 words; usually it takes far less."""
        return self._tariff.most(count_words(task.text) + more)

    async def summarize(self, task: Task) -> Paid[Answer]:
        """Ask a child."""
        plain = (task.language or "en").partition("-")[0].lower()
        chosen, _ = await self._children.ask(Text(text=task.text, language=plain), Chosen)
        return Paid(Answer(summary=chosen.summary), self._tariff.cost(Use(seconds=chosen.seconds)))
