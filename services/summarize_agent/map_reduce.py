"""A text's summary: by one call, or, where it is too long for one, by a call for each part and calls that join them.

How a text is cut is decided once: the answer about a level's first part says it, and whoever goes on with the work
cuts likewise, whatever his libraries would make of the same text. So a call's number means the same at every attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from millrace.errors import Poison
from millrace.models.port import Paid
from millrace.models.question import AGAIN_TOKENS
from millrace.money import MicroUSD
from millrace.stream.stage import Run
from services.summarize_agent.domain import Answer, Cut, Kind, Summary, Task
from services.summarize_agent.parts import (
    BETWEEN,
    FAN,
    Limits,
    SplitSentences,
    call_number,
    cut,
    most_groups,
    packed,
    partial,
    slices,
    together,
)
from services.summarize_agent.ports import Summarizer

T = TypeVar("T")
AT_ONCE: Final = 4
"""Parts that are asked for at a time: forty answers of a minute fit into the stage's ten."""

Tasks = Callable[[Cut], list[Task]]
"""What is asked at one level, if it is cut like this."""


@dataclass(frozen=True)
class Whole:
    """A text's summary, and what it took."""

    summary: Summary
    tokens_in: int
    tokens_out: int
    parts: int
    truncated: bool


async def in_order(work: Callable[[int], Awaitable[T]], numbers: Sequence[int], at_once: int) -> list[T]:
    """What comes of each number, so many at a time. Once one has failed, none is begun; those that are under way end
    first, because what they pay for is kept.
    """
    turns, errors = asyncio.Semaphore(at_once), list[Exception]()

    async def one(number: int) -> T | None:
        async with turns:
            if errors:
                return None
            try:
                return await work(number)
            except Exception as exc:  # noqa: BLE001 - raised below
                errors.append(exc)
                return None

    found = await asyncio.gather(*map(one, numbers))
    if errors:
        raise errors[0]
    return [result for result in found if result is not None]


class MapReduce:
    """Summarises one text after another with one summarizer.

    :param split: splits a text into sentences.
    :param language: of the text, BCP 47; None when it is not known.
    """

    def __init__(
        self, summarizer: Summarizer, limits: Limits, split: SplitSentences, *, language: str | None
    ) -> None:
        self._summarizer = summarizer
        self._limits = limits
        self._split = split
        self._language = language
        self._used = [0, 0]

    def most(self, text: str) -> MicroUSD:
        """The most that all calls about a text can cost, when every answer has to be asked for again."""
        tasks = self._parts(text)(self._cut(text))
        total = sum(self._most(task, 0) for task in tasks)
        room = self._limits.part_tokens
        for groups in most_groups(len(tasks)):
            joins = Task("", self._language, "final" if groups == 1 else "merge")
            total += groups * self._most(joins, room)
        return MicroUSD(total)

    async def summarise(self, run: Run, text: str) -> Whole:
        """All calls that it takes, a few at a time, those that were paid for before left out.

        :raises Poison: an answer has not the form that was asked for, at the second try, too.
        """
        self._used = [0, 0]
        # In a thread: counting the tokens of a long text takes its time, and leases are renewed meanwhile.
        first = await asyncio.to_thread(self._cut, text)
        found, summaries = await self._level(run, 0, self._parts(text), first)
        parts, level = len(summaries), 0
        while len(summaries) > 1:
            level += 1
            tasks, groups = self._joins(summaries)
            _, summaries = await self._level(run, level, tasks, groups)
        tokens_in, tokens_out = self._used
        return Whole(summaries[0], tokens_in, tokens_out, parts, found.truncated)

    async def _level(self, run: Run, level: int, tasks: Tasks, found: Cut) -> tuple[Cut, list[Summary]]:
        found, first = await self._summary(run, level, 0, tasks, found)  # it says how the text is cut
        done, count = 0, len(found.ends)

        async def progress() -> None:
            nonlocal done
            done += 1
            if level == 0 and count > 1:
                await run.progress(done / (count + 1))

        async def rest(part: int) -> Summary:
            _, summary = await self._summary(run, level, part, tasks, found)
            await progress()
            return summary

        await progress()
        return found, [first, *await in_order(rest, range(1, count), AT_ONCE)]

    async def _summary(self, run: Run, level: int, part: int, tasks: Tasks, found: Cut) -> tuple[Cut, Summary]:
        model, wrong = self._summarizer.model, None
        for attempt in range(self._summarizer.tries):
            task = replace(tasks(found)[part], wrong=wrong)
            kept = found if part == 0 else None
            answer = await self._call(run, call_number(level, part, attempt), task, kept)
            found = answer.cut or found
            if answer.summary is not None:
                return found, answer.summary
            if answer.refused:
                raise Poison(f"{model} refuses to summarise this text")
            wrong = answer.wrong
        last = f"; at last: {answer.problem}" if answer.problem else ""
        raise Poison(f"{model} did not answer in the form of a summary, {attempt + 1} times{last}")

    async def _call(self, run: Run, call_no: int, task: Task, found: Cut | None) -> Answer:
        summarizer = self._summarizer

        async def do() -> Paid[Answer]:
            paid = await summarizer.summarize(task)
            return Paid(paid.answer.model_copy(update={"cut": found}), paid.cost)

        local = summarizer.backend != "api"
        hold = summarizer.most(task)
        answer = await run.call(call_no, Answer, model=summarizer.model, hold=hold, do=do, local=local)
        self._used[0] += answer.tokens_in
        self._used[1] += answer.tokens_out
        return answer

    def _cut(self, text: str) -> Cut:
        if self._summarizer.reads_all or self._summarizer.count(text.strip()) <= self._limits.part_tokens:
            return Cut((len(text),))
        return cut(text, self._split(text, self._language), self._summarizer.count, self._limits)

    def _parts(self, text: str) -> Tasks:
        def tasks(found: Cut) -> list[Task]:
            kind: Kind = "whole" if len(found.ends) == 1 else "part"
            return self._numbered([text[part].strip() for part in slices(found.ends)], kind)

        return tasks

    def _joins(self, summaries: Sequence[Summary]) -> tuple[Tasks, Cut]:
        """What joins summaries of parts, and how they are grouped for it."""
        count, most = self._summarizer.count, self._limits.part_tokens // FAN
        partials = [
            partial(summary, number, lambda said: self._split(said, self._language), count, most)
            for number, summary in enumerate(summaries, 1)
        ]

        def tasks(found: Cut) -> list[Task]:
            kind: Kind = "final" if len(found.ends) == 1 else "merge"
            return self._numbered([together(partials[group]) for group in slices(found.ends)], kind)

        # A count of pieces can differ by a token or two from that of the whole: no group may be smaller for that.
        sizes = [min(count(text) + BETWEEN, most) for text in partials]
        return tasks, Cut(packed(sizes, self._limits.part_tokens))

    def _numbered(self, texts: Sequence[str], kind: Kind) -> list[Task]:
        return [Task(text, self._language, kind, number, len(texts)) for number, text in enumerate(texts, 1)]

    def _most(self, task: Task, more: int) -> int:
        again = self._summarizer.tries - 1
        most = self._summarizer.most
        return most(task, more=more) + again * (most(task, more=more + AGAIN_TOKENS) if again else 0)
