"""Long texts: a call for each part, calls that join them, and nothing paid for twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from millrace.errors import Poison, UnknownOutcome
from millrace.models.port import Paid
from millrace.models.question import AGAIN_TOKENS
from millrace.money import MicroUSD
from millrace.sentences import split_sentences
from millrace.testing.run import FakeRun
from services.summarize_agent.domain import Answer, Backend, Summary, Task
from services.summarize_agent.map_reduce import MapReduce, Whole, in_order
from services.summarize_agent.parts import MOST_PARTS, TRIES, Limits

PART = 500
LIMITS = Limits(part_tokens=PART, most_parts=20)


def text_of(sentences: int) -> str:
    """Each of ten words."""
    return " ".join(f"Sentence {number} says again that water drives the old mill." for number in range(sentences))


class Model:
    """Costs a micro-dollar a token, words being tokens, and 50 an answer; `says` answers instead of it."""

    backend: Backend = "api"
    model = "fake"
    version = 1
    tries = TRIES
    reads_all = False

    def __init__(self, says: Callable[[Task], Answer] | None = None, *, dies_at: int | None = None) -> None:
        self.asked: list[Task] = []
        self.paid = 0
        self._says = says or (lambda task: good(f"{task.kind} {task.number} of {task.of}."))
        self._dies_at = dies_at

    def count(self, text: str) -> int:
        return len(text.split())

    def most(self, task: Task, *, more: int = 0) -> MicroUSD:
        again = 0 if task.wrong is None else AGAIN_TOKENS
        return MicroUSD(self.count(task.text) + again + more + 50)

    async def summarize(self, task: Task) -> Paid[Answer]:
        if len(self.asked) == self._dies_at:
            raise UnknownOutcome("the process dies here")
        self.asked.append(task)
        cost = self.most(task)
        self.paid += cost
        return Paid(self._says(task), cost)


def good(said: str) -> Answer:
    return Answer(summary=Summary(summary=said, key_points=["water"]), tokens_in=10, tokens_out=1)


def reducer(model: Model, limits: Limits = LIMITS) -> MapReduce:
    return MapReduce(model, limits, split_sentences, language="en")


async def summarised(model: Model, text: str, run: FakeRun | None = None, limits: Limits = LIMITS) -> Whole:
    return await reducer(model, limits).summarise(run or FakeRun(), text)


async def test_a_text_that_fits_is_one_call() -> None:
    model, run = Model(), FakeRun()
    found = await summarised(model, text_of(50), run)
    assert (found.summary.summary, found.parts, found.truncated) == ("whole 1 of 1.", 1, False)
    assert [call.call_no for call in run.calls] == [0]


async def test_a_text_that_ends_in_a_desert_of_lines_is_one_call() -> None:
    class Bytes(Model):
        def count(self, text: str) -> int:
            return len(text.encode())

    model, text = Bytes(), text_of(3)
    await summarised(model, f"\n{text}{chr(10) * 9000}")
    assert [task.text for task in model.asked] == [text]


async def test_parts_are_summarised_each_and_then_together() -> None:
    model, run = Model(), FakeRun()
    text = text_of(120)
    found = await summarised(model, text, run)
    assert [task.kind for task in model.asked] == ["part", "part", "part", "final"]
    assert " ".join(task.text for task in model.asked[:3]) == text, "no word is lost"
    assert all(model.count(task.text) <= PART for task in model.asked)
    assert model.asked[3].text.startswith("Part 1:\npart 1 of 3.\n- water\n\nPart 2:\n")
    assert (found.parts, found.tokens_in, found.tokens_out) == (3, 40, 4)
    assert [call.call_no for call in run.calls] == [0, TRIES, 2 * TRIES, MOST_PARTS * TRIES]
    assert [call.hold for call in run.calls] == [model.most(task) for task in model.asked], "a hold for each"
    assert run.progressed == [0.25, 0.5, 0.75]


async def test_summaries_that_are_too_long_for_one_call_are_joined_in_groups_first() -> None:
    model = Model(lambda task: good(text_of(30) if task.kind == "part" else task.kind))
    run = FakeRun()
    found = await summarised(model, text_of(700), run)
    kinds = [task.kind for task in model.asked]
    assert (found.parts, kinds.count("part"), kinds[-1]) == (14, 14, "final")
    assert kinds[14:-1] == ["merge"] * len(kinds[14:-1])
    assert len(kinds[14:-1]) == 3
    assert all(model.count(task.text) <= PART for task in model.asked), "also where partial summaries are long"
    numbers = [call.call_no for call in run.calls]
    assert len(set(numbers)) == len(numbers)


async def test_what_comes_after_the_last_part_is_left_out_behind_a_sentence() -> None:
    model = Model()
    found = await summarised(model, text_of(300), limits=Limits(PART, 2))
    assert (found.parts, found.truncated) == (2, True)
    assert model.asked[1].text.rstrip().endswith("mill.")


@pytest.mark.parametrize("dies_at", range(5))
async def test_whoever_goes_on_after_a_crash_pays_for_nothing_again(dies_at: int) -> None:
    text = text_of(190)
    first, run = Model(dies_at=dies_at), FakeRun()
    with pytest.raises(UnknownOutcome):
        await summarised(first, text, run)
    second = Model()
    found = await summarised(second, text, FakeRun(paid=run.paid))
    assert first.asked + second.asked == (whole := Model(), await summarised(whole, text))[0].asked
    assert (found.parts, found.tokens_in) == (4, 50)


async def test_an_answer_in_the_wrong_form_is_asked_for_again_with_what_was_wrong() -> None:
    def says(task: Task) -> Answer:
        bad = task.number == 2 and task.kind == "part" and task.wrong is None
        return Answer(summary=None, said="Mills!", problem="no JSON", tokens_in=5) if bad else good("Mills.")

    model, run = Model(says), FakeRun()
    found = await summarised(model, text_of(120), run)
    assert [call.call_no for call in run.calls] == [0, TRIES, TRIES + 1, 2 * TRIES, MOST_PARTS * TRIES]
    assert found.tokens_in == 45, "both tries are told"
    assert model.asked[2].wrong is not None
    assert (model.asked[2].wrong.answer, model.asked[2].wrong.problem) == ("Mills!", "no JSON")
    assert model.asked[2].text == model.asked[1].text


async def test_a_part_that_stays_in_the_wrong_form_is_final() -> None:
    model = Model(lambda _: Answer(summary=None, problem="no JSON"))
    with pytest.raises(Poison, match="2 times; at last: no JSON"):
        await summarised(model, text_of(120))
    assert len(model.asked) == 2


async def test_a_cut_that_was_paid_for_holds_whatever_the_library_would_do_now() -> None:
    text = text_of(190)
    first, run = Model(dies_at=2), FakeRun()
    with pytest.raises(UnknownOutcome):
        await summarised(first, text, run)
    second = Model()
    other = MapReduce(second, LIMITS, lambda text, _: text.splitlines(keepends=True), language="en")
    assert other._cut(text) != reducer(second)._cut(text)
    await other.summarise(FakeRun(paid=run.paid), text)
    parts = [task.text for task in first.asked + second.asked if task.kind == "part"]
    assert " ".join(parts) == text


@pytest.mark.parametrize("sentences", [1, 49, 51, 120, 700, 900, 3000])
@pytest.mark.parametrize("stubborn", [False, True])
async def test_no_work_costs_more_than_was_said_before(sentences: int, *, stubborn: bool) -> None:
    def says(task: Task) -> Answer:
        if stubborn and task.wrong is None:
            return Answer(summary=None, problem="no JSON")
        return good(text_of(60))

    model, text = Model(says), text_of(sentences)
    most = reducer(model).most(text)
    await summarised(model, text)
    assert model.paid <= most


async def test_a_summarizer_that_reads_all_is_given_all() -> None:
    model = Model()
    model.reads_all = True
    found = await summarised(model, text_of(700))
    assert (found.parts, len(model.asked)) == (1, 1)


async def test_parts_are_asked_for_a_few_at_a_time_and_their_order_stays() -> None:
    under_way, most = 0, 0

    async def work(number: int) -> str:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(20 - number):  # later ones end first
            await asyncio.sleep(0)
        under_way -= 1
        return str(number)

    assert await in_order(work, range(9), 3) == list("012345678")
    assert most == 3


async def test_once_a_part_has_failed_none_is_begun_and_what_is_under_way_ends() -> None:
    begun, ended = list[int](), list[int]()

    async def work(number: int) -> str:
        begun.append(number)
        await asyncio.sleep(0)
        if number == 1:
            raise UnknownOutcome("no answer")
        await asyncio.sleep(0.01)
        ended.append(number)
        return str(number)

    with pytest.raises(UnknownOutcome, match="no answer"):
        await in_order(work, range(9), 3)
    assert (begun, ended) == ([0, 1, 2], [0, 2])
