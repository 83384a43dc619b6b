from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from millrace.clock import ManualClock
from millrace.contracts.events import EmbeddingReady, Segment, ShareEvent
from millrace.errors import Denied, Poison, Retryable, Skipped, Unavailable
from millrace.models.choice import Models
from millrace.models.port import Backend, Embedded, EmbeddingModel, Tariff, Use
from millrace.models.tariffs import PerToken
from millrace.money import MicroUSD
from millrace.store.blobs import LocalBlobStore
from millrace.store.transcripts import keep_large
from millrace.stream.stage import BACKEND_OPTION, MODEL_OPTION, Finished, Plan, StageHandler
from millrace.testing.run import FakeRun
from millrace.testing.samples import NOW, media_ready, share_created, transcript_ready
from services.embed_agent.buying import Buyer
from services.embed_agent.cutting import CHUNKER_OPTION
from services.embed_agent.domain import Chunk, EmbedResult
from services.embed_agent.handler import EmbedHandler, Text
from services.embed_agent.together import AT_ONCE
from tests.support.vectors import FakePending, FakeStore, Kept

SENTENCES = [
    Segment(start_ms=n * 10_000, end_ms=n * 10_000 + 9_900, text=f"Sentence number {n} is said here.")
    for n in range(20)
]
SPEECH = transcript_ready(text=" ".join(s.text for s in SENTENCES), segments=SENTENCES, duration_ms=200_000)
SENTENCE = "A mill race is the channel of water that drives a water wheel. "
ARTICLE = share_created(text="# Mills\n\n" + SENTENCE * 10)


class FakeModel:
    backend: Backend = "api"
    name = "fake"
    dimensions = 0
    batch_size = 2
    text_tokens = 1000
    batch_tokens = 2000

    def __init__(self) -> None:
        self.tariff: Tariff = PerToken(Decimal(10))
        self.asked: list[list[str]] = []
        self.error: Exception | None = None

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def embed(self, texts: Sequence[str]) -> Embedded:
        self.asked.append(list(texts))
        if self.error:
            raise self.error
        tokens = sum(map(self.count_tokens, texts))
        return Embedded([[float(len(text)), 0.5] for text in texts], Use(tokens_in=tokens))


class Bench:
    def __init__(self, folder: Path) -> None:
        self.model = FakeModel()
        self.store = FakeStore()
        self.pending = FakePending(self.store)
        buyer = Buyer(self.store, self.pending, AT_ONCE, ManualClock(NOW))
        self.blobs = LocalBlobStore(folder)
        self.run = FakeRun()
        self.buyer = buyer
        self.handler: StageHandler[Text, EmbedResult] = EmbedHandler(
            Models[EmbeddingModel](self.model.name, self.model),
            store=self.store,
            buyer=buyer,
            blobs=self.blobs,
            split=lambda text: [text],
        )

    def plan(self, event: ShareEvent) -> Plan[Text]:
        plan = self.handler.plan(event, {})
        assert plan is not None
        return plan

    async def work(self, event: ShareEvent) -> EmbedResult:
        return await self.handler.work(self.plan(event), self.run)

    def kept(self, event: ShareEvent) -> Kept:
        return self.store.kept[self.plan(event).work_key("embed")]

    def passages(self, event: ShareEvent) -> list[Chunk]:
        return passages(self.kept(event))


def passages(kept: Kept) -> list[Chunk]:
    return [chunk for chunk in kept.chunks if chunk.embedding_type == "content"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_transcript_is_stored_in_chunks_with_times_and_vectors(bench: Bench) -> None:
    result = await bench.work(SPEECH)
    kept = bench.kept(SPEECH)
    assert result.chunk_count == len(kept.chunks) - 1 == len(kept.vectors) - 1 >= 4
    assert (result.chunker, result.dimensions, result.source, result.types) == (
        "transcript",
        2,
        "transcript",
        ["content", "summary", "composite"],
    )
    assert {name: list(vector) for name, vector in kept.vectors.items()} == {
        chunk.content_hash: [len(chunk.text), 0.5] for chunk in kept.chunks
    }
    assert (kept.chunks[0].start_ms, kept.chunks[-2].end_ms) == (0, 199_900)
    assert (kept.chunks[-1].embedding_type, kept.chunks[-1].start_ms) == ("summary", None)
    assert kept.chunks[-1].text == "A speech\n\n" + " ".join(segment.text for segment in SENTENCES[:3])


async def test_each_batch_is_a_call_of_its_own_held_by_its_tokens(bench: Bench) -> None:
    result = await bench.work(SPEECH)
    calls = bench.run.calls
    assert (
        [call.call_no for call in calls]
        == list(range(len(bench.model.asked)))
        == list(range(-(-(result.chunk_count + 1) // 2)))
    )
    tokens = [sum(len(text.split()) for text in batch) for batch in bench.model.asked]
    assert [call.hold for call in calls] == [call.cost for call in calls] == [10 * n for n in tokens]
    assert result.tokens == sum(tokens)


async def test_a_second_attempt_asks_only_for_batches_that_were_not_paid(bench: Bench) -> None:
    bench.store.error = Unavailable("PostgreSQL is away")
    with pytest.raises(Unavailable):
        await bench.work(SPEECH)
    assert len(bench.model.asked) == 1
    bench.store.error = None
    bench.run = FakeRun(paid=bench.run.paid)
    result = await bench.work(SPEECH)
    assert len(bench.model.asked) == -(-result.chunk_count // 2)
    assert result.dimensions == 2
    first = bench.kept(SPEECH).chunks[0]
    assert list(bench.kept(SPEECH).vectors[first.content_hash]) == [len(first.text), 0.5]


async def test_what_the_store_has_is_not_embedded_again(bench: Bench) -> None:
    await bench.work(SPEECH)
    chunks = bench.kept(SPEECH).chunks
    del bench.store.vectors[chunks[0].content_hash]
    bench.model.asked, bench.run = [], FakeRun()
    bench.pending.batches.clear()
    result = await bench.work(SPEECH)
    assert bench.model.asked == [[chunks[0].text]]
    assert (result.chunk_count, result.dimensions) == (len(chunks) - 1, 2)
    assert result.tokens == len(chunks[0].text.split())


async def test_work_that_is_wanted_again_buys_its_vectors_again(bench: Bench) -> None:
    await bench.work(SPEECH)
    chunks = bench.kept(SPEECH).chunks
    bench.model.asked, bench.run = [], FakeRun()
    await bench.handler.work(replace(bench.plan(SPEECH), generation="again"), bench.run)
    assert [text for asked in bench.model.asked for text in asked] == [chunk.text for chunk in chunks]


async def test_an_answer_that_was_paid_for_others_is_used_for_what_it_is_about(bench: Bench) -> None:
    await bench.work(SPEECH)
    chunks = bench.kept(SPEECH).chunks
    # Meanwhile all but the vector of the first chunk are lost; that one somebody else's work has brought.
    bench.store.vectors = {chunks[0].content_hash: [1.0, 2.0]}
    bench.model.asked, bench.run = [], FakeRun(paid={0: bench.run.paid[0]})
    await bench.work(SPEECH)
    assert bench.model.asked[0] == [chunk.text for chunk in chunks[2:4]]
    assert {chunk.content_hash for chunk in chunks} <= set(bench.kept(SPEECH).vectors)
    assert all(
        list(vector) == [len(chunk.text), 0.5]
        for chunk in chunks[1:]
        for vector in [bench.kept(SPEECH).vectors[chunk.content_hash]]
    )


async def test_a_text_is_stored_without_times(bench: Bench) -> None:
    result = await bench.work(ARTICLE)
    (chunk,) = bench.passages(ARTICLE)
    assert (chunk.start_ms, chunk.end_ms, result.chunker, result.source) == (None, None, "paragraph", "text")
    assert chunk.text.startswith("# Mills")


async def test_large_segments_are_read_from_the_media_store(bench: Bench) -> None:
    many = [segment.model_copy(update={"text": segment.text + " word" * 6000}) for segment in SENTENCES]
    reference = await keep_large(bench.blobs, many)
    assert reference is not None
    event = transcript_ready(text="whatever words", segments_ref=reference, duration_ms=200_000)
    await bench.work(event)
    assert bench.kept(event).chunks[0].text.startswith("Sentence number 0")


async def test_a_transcript_without_segments_lasts_as_long_as_its_media(bench: Bench) -> None:
    event = transcript_ready(text="Ask not.", duration_ms=3000)
    await bench.work(event)
    (chunk,) = bench.passages(event)
    assert (chunk.text, chunk.start_ms, chunk.end_ms) == ("Ask not.", 0, 3000)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (share_created(text="abc"), "too-short"),
        (share_created(text="... !!! ??? ;;;"), "no-words"),
        (share_created(text="https://a.example/ https://b.example/"), "mostly-links"),
        (share_created(text="buy " * 40), "repetitive"),
        (share_created(text="text with\0 a NUL that PostgreSQL refuses"), "binary"),
        (transcript_ready(text="", skipped_reason="no-audio"), "no-audio"),
        (transcript_ready(text=" "), "too-short"),
    ],
)
async def test_nothing_is_bought_for_what_nobody_would_search(bench: Bench, event: ShareEvent, reason: str) -> None:
    with pytest.raises(Skipped, match=reason):
        await bench.work(event)
    assert bench.run.calls == []
    assert bench.store.kept == {}
    skipped = bench.handler.skipped(bench.plan(event), reason)
    assert (skipped.skipped_reason, skipped.chunk_count) == (reason, 0)


async def test_denied_money_means_that_nothing_was_embedded_or_stored(bench: Bench) -> None:
    bench.run = FakeRun(cap=MicroUSD(1))
    with pytest.raises(Denied):
        await bench.work(SPEECH)
    assert bench.model.asked == []
    assert bench.store.kept == {}


@pytest.mark.parametrize("error", [Retryable("busy"), Poison("refused")])
async def test_a_model_says_by_its_error_what_happens_next(bench: Bench, error: Exception) -> None:
    bench.model.error = error
    with pytest.raises(type(error)):
        await bench.work(SPEECH)
    assert bench.store.kept == {}


def test_the_event_is_about_the_share(bench: Bench) -> None:
    plan = bench.plan(SPEECH)
    result = EmbedResult(
        source="transcript",
        backend="local",
        model="fake",
        dimensions=2,
        chunker="transcript",
        chunk_count=4,
        tokens=9,
    )
    event = bench.handler.event(plan, Finished(plan.work_key("embed"), result, MicroUSD(5), NOW))
    assert isinstance(event, EmbeddingReady)
    assert (event.share_id, event.account, event.chunk_count, event.cost_micro_usd) == ("share-1", "acme", 4, 5)


def test_the_same_words_at_other_times_are_other_work(bench: Bench) -> None:
    later = [s.model_copy(update={"start_ms": s.start_ms + 5, "end_ms": s.end_ms + 5}) for s in SENTENCES]
    first = bench.plan(SPEECH).work_key("embed")
    again = transcript_ready(share_id="other", account="b", text=SPEECH.text, segments=SENTENCES)
    assert bench.plan(again).work_key("embed") == first
    assert bench.plan(again.model_copy(update={"title": "Mine"})).work_key("embed") != first, "about something else"
    assert bench.plan(transcript_ready(text=SPEECH.text, segments=later)).work_key("embed") != first


@pytest.mark.parametrize("event", [media_ready(), share_created(source_kind="upload", blob_key="uploads/a")])
def test_what_has_no_text_yet_is_not_for_this_stage(bench: Bench, event: ShareEvent) -> None:
    assert bench.handler.plan(event, {}) is None


async def test_a_model_that_a_command_names_does_its_own_work(bench: Bench) -> None:
    other = FakeModel()
    other.name = "other"
    models = Models[EmbeddingModel](bench.model.name, bench.model, {"other": other}.__getitem__)
    handler = EmbedHandler(models, store=bench.store, buyer=bench.buyer, blobs=bench.blobs, split=lambda text: [text])
    plan = handler.plan(ARTICLE, {MODEL_OPTION: "other"})
    assert plan is not None
    assert plan.work_key("embed") != bench.plan(ARTICLE).work_key("embed")
    assert (await handler.work(plan, bench.run)).model == "other"
    assert bench.model.asked == []
    assert len(other.asked) == 1


@pytest.mark.parametrize(
    ("words", "options", "name"),
    [
        (5_000, {}, "fake"),
        (5_001, {}, "large"),
        (5_001, {MODEL_OPTION: "other"}, "other"),
        (5_001, {MODEL_OPTION: "fake"}, "fake"),
        (5_001, {BACKEND_OPTION: "api"}, "large"),
        (5_001, {BACKEND_OPTION: "local"}, "fake"),
    ],
)
def test_large_texts_have_a_model_of_their_own_unless_one_is_named(
    bench: Bench, words: int, options: dict[str, str], name: str
) -> None:
    others = {"large": FakeModel(), "other": FakeModel()}
    for other, model in others.items():
        model.name, model.backend = other, "api"
    bench.model.backend = "local"
    models = Models[EmbeddingModel](bench.model.name, bench.model, others.__getitem__)
    handler = EmbedHandler(
        models,
        store=bench.store,
        buyer=bench.buyer,
        blobs=bench.blobs,
        split=lambda text: [text],
        large="large",
    )
    article = share_created(text=" ".join(f"word{n}" for n in range(words)))
    plan = handler.plan(article, options)
    assert plan is not None
    assert plan.model == name
    assert handler.most(plan) == others.get(name, bench.model).tariff.most(words)


@pytest.mark.parametrize(
    ("share", "command", "chunker"),
    [
        ({}, {}, "paragraph"),
        ({"embed.chunker": "fixed"}, {}, "fixed"),
        ({"embed.chunker": "fixed"}, {CHUNKER_OPTION: "sentence"}, "sentence"),
        ({"embed.chunker": "auto"}, {}, "paragraph"),
    ],
)
def test_a_share_says_how_it_is_cut_unless_a_command_does(
    bench: Bench, share: dict[str, str], command: dict[str, str], chunker: str
) -> None:
    event = share_created(text="# Mills\n\n" + SENTENCE * 10, options=share)
    plan = bench.handler.plan(event, command)
    assert plan is not None
    assert plan.parameters["chunker"] == chunker


def test_media_without_words_for_different_reasons_are_different_work(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    silent, mute = (transcript_ready(text="", skipped_reason=reason) for reason in ("silent", "no-audio"))
    assert bench.plan(silent).work_key("embed") != bench.plan(mute).work_key("embed")


def asked(bench: Bench, event: ShareEvent, chunker: str) -> Plan[Text]:
    plan = bench.handler.plan(event, {CHUNKER_OPTION: chunker})
    assert plan is not None
    return plan


async def test_another_chunker_that_a_command_names_is_other_work(bench: Bench) -> None:
    plans = [asked(bench, ARTICLE, name) for name in ("none", "paragraph", "sentence", "fixed")]
    assert len({plan.work_key("embed") for plan in plans}) == 4
    assert asked(bench, ARTICLE, "auto") == plans[1] == bench.plan(ARTICLE), "the one that fits is named all the same"
    for plan in plans:
        result = await bench.handler.work(plan, FakeRun())
        assert result.chunker == plan.parameters["chunker"]
        assert result.chunk_count == len(passages(bench.store.kept[plan.work_key("embed")]))


async def test_a_transcript_can_be_cut_as_a_text_and_has_no_times_then(bench: Bench) -> None:
    plan = asked(bench, SPEECH, "none")
    result = await bench.handler.work(plan, bench.run)
    (chunk,) = passages(bench.store.kept[plan.work_key("embed")])
    assert (chunk.text, chunk.start_ms, result.source, result.chunker) == (SPEECH.text, None, "transcript", "none")


@pytest.mark.parametrize("name", ["transcript", "words"])
def test_a_chunker_that_cannot_be_used_is_refused(bench: Bench, name: str) -> None:
    with pytest.raises(Poison, match="chunker"):
        asked(bench, ARTICLE, name)


async def test_the_settings_choose_for_texts_and_a_command_goes_before(bench: Bench) -> None:
    models = Models[EmbeddingModel](bench.model.name, bench.model)
    bench.handler = EmbedHandler(
        models, store=bench.store, buyer=bench.buyer, blobs=bench.blobs, split=lambda text: [text], chunker="fixed"
    )
    assert (await bench.work(ARTICLE)).chunker == "fixed"
    assert (await bench.work(SPEECH)).chunker == "transcript"
    assert asked(bench, ARTICLE, "auto").parameters["chunker"] == "paragraph"


async def test_a_text_that_the_model_does_not_take_whole_says_how_it_was_cut(bench: Bench) -> None:
    plan = asked(bench, share_created(text=SENTENCE * 100), "none")
    bench.model.text_tokens = 500
    result = await bench.handler.work(plan, bench.run)
    assert (result.chunker, result.chunk_count) == ("fixed", 3)
    assert max(len(text.split()) for batch in bench.model.asked for text in batch) <= 500


async def test_no_call_has_more_tokens_than_the_model_takes_at_once(bench: Bench) -> None:
    bench.model.batch_size, bench.model.batch_tokens = 100, 700
    await bench.handler.work(asked(bench, share_created(text=SENTENCE * 200), "fixed"), bench.run)
    assert [call.hold <= 7000 for call in bench.run.calls] == [True] * len(bench.model.asked)
    assert len(bench.model.asked) > 1


async def test_what_is_embedded_is_the_cleaned_text(bench: Bench) -> None:
    event = share_created(text="<p>The   mill &amp; its race</p>\u200b #GateKeeper", content_type="post")
    await bench.work(event)
    assert [chunk.text for chunk in bench.kept(event).chunks] == ["The mill & its race\n\nGate Keeper"]
    same = share_created(text="The mill & its race\n\n#GateKeeper", content_type="tweet")
    assert bench.plan(same).work_key("embed") == bench.plan(event).work_key("embed")


async def test_texts_that_are_equal_once_cleaned_share_no_work_when_one_is_skipped(bench: Bench) -> None:
    once, spam = share_created(text="Buy it now!"), share_created(text="Buy it now!\n" * 20)
    assert bench.plan(once).content_hash == bench.plan(spam).content_hash
    assert bench.plan(once).work_key("embed") != bench.plan(spam).work_key("embed")
    assert bench.handler.most(bench.plan(spam)) == 0
    assert bench.handler.most(bench.plan(once)) == 30


async def test_what_a_text_is_about_has_a_vector_and_is_no_passage(bench: Bench) -> None:
    event = share_created(text=SENTENCE * 40, title="Mills", description="Their <b>water</b>", tags=["mill", "race"])
    result = await bench.work(event)
    (summary,) = [chunk for chunk in bench.kept(event).chunks if chunk.embedding_type == "summary"]
    assert summary.text.startswith("Mills\n\nTheir water\n\nmill, race\n\nA mill race is")
    assert summary.content_hash in bench.kept(event).vectors
    assert result.chunk_count == len(bench.passages(event))
    assert result.types == ["content", "summary", "composite"]


async def test_a_single_passage_with_nothing_beside_it_costs_no_other_vector(bench: Bench) -> None:
    event = share_created(text="A mill race drives a wheel.")
    result = await bench.work(event)
    assert (len(bench.kept(event).chunks), result.types) == (1, ["content", "composite"])
    assert bench.handler.most(bench.plan(event)) == bench.run.calls[0].cost


@pytest.mark.parametrize(
    "event",
    [
        share_created(text=SENTENCE * 3, title="A title of seven words it has", tags=["a"] * 50),
        share_created(text=SENTENCE * 60, description="words " * 900),
        SPEECH,
    ],
)
async def test_what_is_held_is_no_more_than_was_estimated(bench: Bench, event: ShareEvent) -> None:
    bench.model.batch_size, bench.model.batch_tokens = 100, 100_000
    await bench.work(event)
    said = sum(chunk.tokens for chunk in bench.passages(event))
    over = said - len((getattr(event, "text", "") or "").split())  # what chunks say again
    assert sum(call.hold for call in bench.run.calls) <= (bench.handler.most(bench.plan(event)) or 0) + 10 * over


async def test_an_overview_is_no_longer_than_the_model_takes(bench: Bench) -> None:
    bench.model.text_tokens = 20
    event = share_created(text=SENTENCE * 10, title="Mills and their races")
    await bench.work(event)
    assert max(chunk.tokens for chunk in bench.kept(event).chunks) <= 20
    assert bench.kept(event).chunks[-1].text.startswith("Mills and their races")
