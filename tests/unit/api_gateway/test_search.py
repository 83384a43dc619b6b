from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from millrace.contracts.search_api import SearchMode
from millrace.errors import ConfigurationError, Refusal, Retryable, Unavailable, UnknownOutcome
from millrace.ids import RequestId
from millrace.ledger.port import Granted
from millrace.models.choice import Models
from millrace.models.port import Backend, Embedded, EmbeddingModel, Tariff, Use
from millrace.money import MicroUSD
from millrace.testing.ledger import Asked, FakeLedger
from services.api_gateway.errors import TooWide
from services.api_gateway.filters import Filters
from services.api_gateway.passages import Passage, TookTooLong
from services.api_gateway.search import Search

REQUEST = RequestId("search-1")
REFUSAL = Refusal(
    "hour:search", MicroUSD(200), MicroUSD(50), MicroUSD(1_000_000), datetime(2030, 1, 1, 15, tzinfo=UTC)
)


def passage(name: str, rank: float = 0.5) -> Passage:
    return Passage("share", None, None, name, f"text of {name}", 1000, 2000, rank)


class Passages:
    def __init__(self, *, late: Sequence[str] = ()) -> None:
        self.late = late
        self.left_out: str | None = None

    async def models(self, owner: str) -> list[str]:
        return ["tiny"]

    async def by_meaning(
        self,
        owner: str,
        model: str,
        vector: Sequence[float],
        limit: int,
        filters: Filters,
        *,
        is_one_of_several: bool = False,
    ) -> list[Passage]:
        assert not is_one_of_several
        self.left_out = filters.other_than
        if "meaning" in self.late:
            raise TookTooLong
        assert (owner, model, vector) == ("local", "tiny", [1.0])
        return [passage("both", 0.9), passage("meant", 0.4)]

    async def middle(self, owner: str, model: str, share_id: str) -> list[float] | None:
        return [1.0] if share_id == "share" else None

    async def by_words(
        self, owner: str, query: str, limit: int, filters: Filters, *, least_share: float
    ) -> list[Passage]:
        if "words" in self.late:
            raise TookTooLong
        return [passage("said"), passage("both")]


class TwoModels(Passages):
    """Some shares are searched by one model, some by the other."""

    def __init__(self) -> None:
        super().__init__()
        self.several: dict[str, bool] = {}

    async def models(self, owner: str) -> list[str]:
        return ["big", "tiny"]

    async def by_meaning(
        self,
        owner: str,
        model: str,
        vector: Sequence[float],
        limit: int,
        filters: Filters,
        *,
        is_one_of_several: bool = False,
    ) -> list[Passage]:
        self.several[model] = is_one_of_several
        return [passage(f"{model} {number}") for number in range(2)]


class PerWord:
    def most(self, tokens_in: int = 0, tokens_out: int = 0, *, audio_ms: int = 0) -> MicroUSD:
        return MicroUSD(200 * tokens_in)

    def cost(self, use: Use) -> MicroUSD:
        return MicroUSD(120 * use.tokens_in)


class Model:
    backend: Backend = "api"
    name = "tiny"
    dimensions = 1
    batch_size = 1
    text_tokens = batch_tokens = 1000
    tariff: Tariff = PerWord()

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls = 0

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def embed(self, texts: Sequence[str]) -> Embedded:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return Embedded([[1.0]], Use(tokens_in=1))


def searching(model: Model, ledger: FakeLedger) -> Search:
    return Search(Passages(), model, ledger, lambda: REQUEST)


async def ask(search: Search, mode: SearchMode = "hybrid") -> tuple[str, str | None, list[str]]:
    answer = await search.answer("words", owner="local", account="default", limit=3, mode=mode)
    return answer.mode, answer.note, [hit.text.removeprefix("text of ") for hit in answer.hits]


async def test_hybrid_reserves_embeds_settles_and_fuses() -> None:
    ledger = FakeLedger()
    assert await ask(searching(Model(), ledger)) == ("hybrid", None, ["both", "said", "meant"])
    assert ledger.told == [("reserve", 200), ("settle", 120)]
    assert ledger.asked == [Asked(REQUEST, "default", "search", MicroUSD(200), "tiny")]


async def test_hits_say_how_they_were_found_and_how_near_they_are() -> None:
    answer = await searching(Model(), FakeLedger()).answer(
        "words", owner="local", account="default", limit=1, mode="hybrid"
    )
    assert answer.hits[0].matched_by == ["semantic", "keyword"]
    assert answer.hits[0].similarity == 0.9


async def test_keyword_search_asks_nobody_for_money() -> None:
    ledger, model = FakeLedger(), Model()
    assert await ask(searching(model, ledger), "keyword") == ("keyword", None, ["said", "both"])
    assert ledger.told == []
    assert model.calls == 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (REFUSAL, r"needs \$0.0002, but \$0.00005 is left of this hour's \$1.00 for search .*2030-01-01 15:00 UTC"),
        (Unavailable("down"), "ledger does not answer"),
    ],
)
async def test_without_a_grant_nothing_is_called_and_words_are_searched(
    answer: Refusal | Unavailable, words: str
) -> None:
    ledger, model = FakeLedger(answer), Model()
    mode, note, hits = await ask(searching(model, ledger), "semantic")
    assert (mode, hits) == ("keyword", ["said", "both"])
    assert re.search(words, note or "")
    assert model.calls == 0
    assert [op for op, _ in ledger.told] == ["reserve"]


@pytest.mark.parametrize(
    ("error", "end"), [(Retryable("no answer"), "release"), (UnknownOutcome("cut off"), "unknown")]
)
async def test_a_failed_call_is_told_to_the_ledger_for_what_it_was(error: Exception, end: str) -> None:
    ledger = FakeLedger()
    mode, note, _ = await ask(searching(Model(error), ledger))
    assert mode == "keyword"
    assert note is not None
    assert str(error) in note
    assert [op for op, _ in ledger.told] == ["reserve", end]


async def test_a_bug_in_the_model_leaves_the_money_unconfirmed_rather_than_free() -> None:
    ledger = FakeLedger()
    with pytest.raises(ZeroDivisionError):
        await ask(searching(Model(ZeroDivisionError()), ledger))
    assert [op for op, _ in ledger.told] == ["reserve", "unknown"]


class SlowLedger(FakeLedger):
    """Decides later than anybody waits."""

    async def reserve(self, request_id: RequestId, **asked: object) -> Granted | Refusal:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


async def test_a_search_does_not_wait_as_long_as_the_ledgers_client_would() -> None:
    model = Model()
    search = Search(Passages(), model, SlowLedger(), lambda: REQUEST, grant_within_s=0.01)
    mode, note, _ = await ask(search)
    assert (mode, model.calls) == ("keyword", 0)
    assert "ledger does not answer" in (note or "")


async def test_above_a_cap_that_only_warns_the_search_goes_on_and_says_so() -> None:
    ledger = FakeLedger(warning="above the cap hour:search, which only warns")
    assert await ask(searching(Model(), ledger)) == (
        "hybrid",
        "The query's embedding is above the cap hour:search, which only warns.",
        ["both", "said", "meant"],
    )
    assert ledger.told == [("reserve", 200), ("settle", 120)]


@pytest.mark.parametrize(("late", "left"), [("meaning", ["said", "both"]), ("words", ["both", "meant"])])
async def test_what_takes_too_long_is_left_out_and_said(late: str, left: list[str]) -> None:
    search = Search(Passages(late=[late]), Model(), FakeLedger(), lambda: REQUEST)
    assert await ask(search) == ("hybrid", f"What would be found by {late} took too long.", left)


async def test_a_search_that_takes_too_long_in_every_way_says_what_to_do() -> None:
    search = Search(Passages(late=["meaning", "words"]), Model(), FakeLedger(), lambda: REQUEST)
    with pytest.raises(TooWide, match="narrow it by a filter"):
        await ask(search)


async def test_what_is_too_far_is_not_found_by_meaning() -> None:
    search = Search(Passages(), Model(), FakeLedger(), lambda: REQUEST)
    answer = await search.answer(
        "question", owner="local", account="default", limit=10, mode="hybrid", least_similarity=0.5
    )
    assert [hit.text for hit in answer.hits] == ["text of both", "text of said"]
    assert answer.hits[0].matched_by == ["semantic", "keyword"]


async def test_shares_about_the_same_leave_out_the_share_itself() -> None:
    passages = Passages()
    search = Search(passages, Model(), FakeLedger(), lambda: REQUEST)
    (hit,) = (await search.similar("share", owner="local", limit=10)).hits
    assert (hit.text, passages.left_out) == ("text of both", "share"), "one passage a share, the nearest"
    nothing = await search.similar("other", owner="local", limit=10)
    assert (nothing.hits, nothing.note) == ([], "This share has no vectors.")


def of_two(tiny: Model, big: Model | ConfigurationError, passages: Passages, ledger: FakeLedger) -> Search:
    def make(name: str) -> Model:
        assert name == "big"
        if isinstance(big, ConfigurationError):
            raise big
        big.name = name
        return big

    return Search(passages, tiny, ledger, lambda: REQUEST, models=Models[EmbeddingModel](tiny.name, tiny, make))


async def test_each_model_that_shares_are_searched_by_is_asked_and_granted() -> None:
    passages, ledger = TwoModels(), FakeLedger()
    mode, note, hits = await ask(of_two(Model(), Model(), passages, ledger), "semantic")
    assert (mode, note, hits) == ("semantic", None, ["big 0", "tiny 0", "big 1"]), "they take turns"
    assert passages.several == {"big": True, "tiny": True}
    assert {asked.model for asked in ledger.asked} == {"big", "tiny"}


@pytest.mark.parametrize("big", [Model(Retryable("no answer")), ConfigurationError("there is no such model")])
async def test_without_one_of_the_models_the_other_is_asked_and_the_answer_says_so(
    big: Model | ConfigurationError,
) -> None:
    passages = TwoModels()
    mode, note, hits = await ask(of_two(Model(), big, passages, FakeLedger()), "semantic")
    assert (mode, hits) == ("hybrid", ["tiny 0", "said", "tiny 1"]), (
        "by words, too, although only meaning was asked for"
    )
    assert passages.several == {"tiny": False}, "all that it has, as nobody else is asked"
    assert "Shares that only big has embedded are searched by words." in (note or "")


async def test_without_any_of_the_models_words_are_searched() -> None:
    broken = Model(Retryable("no answer"))
    mode, note, hits = await ask(of_two(broken, broken, TwoModels(), FakeLedger()), "hybrid")
    assert (mode, hits) == ("keyword", ["said", "both"])
    assert note == "The embedding model does not work: no answer. Searched by words only."


async def test_with_nothing_embedded_the_gateways_own_model_is_asked() -> None:
    class Nothing(Passages):
        async def models(self, owner: str) -> list[str]:
            return []

    ledger = FakeLedger()
    await Search(Nothing(), Model(), ledger, lambda: REQUEST).answer(
        "words", owner="local", account="default", limit=3, mode="semantic"
    )
    assert [asked.model for asked in ledger.asked] == ["tiny"]
