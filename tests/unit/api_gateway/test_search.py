from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from millrace.contracts.events import Segment
from millrace.contracts.search_api import SearchAnswer, SearchMode
from millrace.errors import ConfigurationError, Refusal, Retryable, Unavailable, UnknownOutcome
from millrace.ids import RequestId
from millrace.ledger.port import Granted
from millrace.models.choice import Models
from millrace.models.port import Backend, Embedded, EmbeddingModel, Tariff, Use
from millrace.money import MicroUSD
from millrace.testing.ledger import Asked, FakeLedger
from services.api_gateway.errors import BadRequest, NotNow, TooWide, Unreadable
from services.api_gateway.filters import Filters
from services.api_gateway.passages import Passage, TookTooLong
from services.api_gateway.search import DEPTH, EACH, Search
from services.api_gateway.spoken import Stretch

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
        self.among: list[tuple[str, ...] | None] = []
        self.changes = 0

    async def changed(self, owner: str, since: str | None) -> tuple[str, bool]:
        return str(self.changes), since not in (None, str(self.changes))

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
        self.among.append(filters.among)
        if "meaning" in self.late:
            raise TookTooLong
        assert (owner, model, vector) == ("local", "tiny", [1.0])
        return [passage("both", 0.9), passage("meant", 0.4)]

    async def shares(
        self,
        owner: str,
        model: str,
        vector: Sequence[float],
        limit: int,
        filters: Filters,
        *,
        is_one_of_several: bool = False,
    ) -> list[str]:
        assert (owner, model, vector, filters.among) == ("local", "tiny", [1.0], None)
        if "shares" in self.late:
            raise TookTooLong
        return ["near", "share"]

    async def middle(self, owner: str, model: str, share_id: str) -> list[float] | None:
        return [1.0] if share_id == "share" else None

    async def by_words(
        self, owner: str, query: str, limit: int, filters: Filters, *, least_share: float
    ) -> list[Passage]:
        self.among.append(filters.among)
        if "words" in self.late:
            raise TookTooLong
        return [passage("said"), passage("both")]

    async def worth(self, words: set[str]) -> dict[str, float]:
        return dict.fromkeys(words, 1.0)


class Transcripts:
    """The same for all: five seconds, of which the passage has one."""

    async def segments(self, owner: str, stretches: Sequence[Stretch]) -> list[list[Segment]]:
        assert owner == "local"
        return [
            [Segment(start_ms=0, end_ms=4000, text="Nothing here. Some words. Others.")] if one.share_id else []
            for one in stretches
        ]


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


async def test_in_two_phases_both_ways_look_into_the_nearest_shares_alone() -> None:
    passages, ledger = Passages(), FakeLedger()
    search = Search(passages, Model(), ledger, lambda: REQUEST)

    async def ask(mode: SearchMode, *, two_phase: bool = True) -> SearchAnswer:
        return await search.answer("words", owner="local", account="default", limit=3, mode=mode, two_phase=two_phase)

    await ask("hybrid")
    await ask("hybrid", two_phase=False)
    assert passages.among == [("near", "share")] * 2 + [None] * 2
    with pytest.raises(BadRequest, match="without the mode keyword"):
        await ask("keyword")
    passages.late = ["shares"]
    with pytest.raises(TooWide, match="narrow it by a filter"):
        await ask("semantic")


async def test_in_two_phases_a_denied_search_goes_by_words_everywhere() -> None:
    passages = Passages()
    search = Search(passages, Model(), FakeLedger(REFUSAL), lambda: REQUEST)
    answer = await search.answer("words", owner="local", account="default", limit=3, mode="hybrid", two_phase=True)
    assert (answer.mode, passages.among) == ("keyword", [None])


async def test_an_answer_is_kept_until_something_changes() -> None:
    passages = Passages()
    search = Search(passages, Model(), FakeLedger(), lambda: REQUEST)
    first = await page(search, 3)
    assert await page(search, 3) == first
    assert len(passages.among) == 2, "both ways once"
    passages.changes += 1
    assert await page(search, 3) == first
    assert len(passages.among) == 4
    await page(search, 2)
    await search.answer("words", owner="local", account="other", limit=3, mode="hybrid")
    assert len(passages.among) == 8, "another page, another one who pays"


async def test_what_changes_while_it_is_looked_for_is_not_missed() -> None:
    class Changing(Passages):
        async def by_words(
            self, owner: str, query: str, limit: int, filters: Filters, *, least_share: float
        ) -> list[Passage]:
            self.changes += 1
            return await super().by_words(owner, query, limit, filters, least_share=least_share)

    passages = Changing()
    search = Search(passages, Model(), FakeLedger(), lambda: REQUEST)
    await page(search, 3, mode="keyword")
    await page(search, 3, mode="keyword")
    assert passages.changes == 2


async def test_an_answer_that_lacks_something_is_not_kept() -> None:
    passages, ledger = Passages(), FakeLedger(REFUSAL)
    search = Search(passages, Model(), ledger, lambda: REQUEST)
    assert (await page(search, 3)).mode == "keyword"
    ledger.answer = None
    assert (await page(search, 3)).mode == "hybrid"
    passages.late = ["words"]
    assert (await page(search, 4)).note is not None
    passages.late = []
    assert (await page(search, 4)).note is None


class Many(Passages):
    """Two rankings of as many as are asked for, half of which are in both."""

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
        return [passage(f"{n}", 0.9) for n in range(limit)]

    async def by_words(
        self, owner: str, query: str, limit: int, filters: Filters, *, least_share: float
    ) -> list[Passage]:
        if "words" in self.late:
            raise TookTooLong
        return [passage(f"{n}", least_share) for n in range(limit // 2, limit + limit // 2)]


async def page(search: Search, limit: int, cursor: str | None = None, mode: SearchMode = "hybrid") -> SearchAnswer:
    return await search.answer("words", owner="local", account="default", limit=limit, mode=mode, cursor=cursor)


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
async def test_pages_have_every_hit_once_in_one_order_and_are_paid_once(mode: SearchMode) -> None:
    ledger, texts = FakeLedger(), list[str]()
    search = Search(Many(), Model(), ledger, lambda: REQUEST)
    answer = await page(search, 7, mode=mode)
    while True:
        texts += [hit.text for hit in answer.hits]
        if answer.next is None:
            break
        answer = await page(search, 7, answer.next, mode)
    whole = await page(search, 2 * DEPTH, mode=mode)
    assert texts == [hit.text for hit in whole.hits]
    assert len(set(texts)) == len(texts) == (EACH * 3 // 2 if mode == "hybrid" else DEPTH)
    assert whole.next is None
    assert len(ledger.asked) == (mode != "keyword")


async def test_a_cursor_serves_no_other_search() -> None:
    search = Search(Many(), Model(), FakeLedger(), lambda: REQUEST)
    cursor = (await page(search, 5)).next
    with pytest.raises(Unreadable):
        await page(search, 5, cursor, "keyword")
    with pytest.raises(Unreadable):
        await search.answer(
            "words",
            owner="local",
            account="default",
            limit=5,
            mode="hybrid",
            cursor=cursor,
            filters=Filters(kind="url"),
        )
    beyond = await page(search, 5, (cursor or "").replace("5.", "9999.", 1))
    assert (beyond.hits, beyond.next) == ([], None), "a place that was made up shows nothing"


async def test_pages_of_a_denied_search_go_by_words_when_there_is_money_again() -> None:
    ledger = FakeLedger(REFUSAL)
    search = Search(Many(), Model(), ledger, lambda: REQUEST)
    first = await page(search, 5)
    ledger.answer = None
    second = await page(search, 5, first.next)
    assert (second.mode, second.note) == ("keyword", "Searched by words only, as the page before.")
    assert not {hit.text for hit in first.hits} & {hit.text for hit in second.hits}
    assert len(ledger.asked) == 1


async def test_a_page_that_cannot_be_made_as_the_first_was_says_so() -> None:
    ledger = FakeLedger()
    cursor = (await page(Search(Many(), Model(), ledger, lambda: REQUEST), 5)).next
    ledger.answer = REFUSAL
    with pytest.raises(NotNow, match="cannot be made: search again without the cursor") as refused:
        await page(Search(Many(), Model(), ledger, lambda: REQUEST), 5, cursor)
    assert str(refused.value).count(". ") == 0
    late = Search(Many(late=["words"]), Model(), FakeLedger(), lambda: REQUEST)
    with pytest.raises(TooWide):
        await page(late, 5, cursor)
    assert (await page(late, 5)).next is None, "what lacks something has no page behind it"


async def test_a_hit_of_media_says_which_sentence_is_meant() -> None:
    search = Search(Passages(), Model(), FakeLedger(), lambda: REQUEST, spoken=Transcripts())
    answer = await search.answer("words", owner="local", account="default", limit=1, mode="keyword")
    assert answer.hits[0].moment is not None
    assert answer.hits[0].moment.text == "Some words."
    assert 1000 <= answer.hits[0].moment.start_ms < 2000 < answer.hits[0].moment.end_ms < 3500
    assert (answer.hits[0].start_ms, answer.hits[0].end_ms) == (1000, 2000), "the passage keeps its own times"


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
