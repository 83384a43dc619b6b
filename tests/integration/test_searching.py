"""Pages, moments and shares first: the gateway's search against the real PostgreSQL."""

from __future__ import annotations

import json
import uuid

import pytest

from millrace.contracts.api import Problem
from millrace.contracts.events import Segment
from millrace.contracts.search_api import SearchAnswer, SearchMode
from millrace.store.transcripts import keep_large
from millrace.store.vectors import ensure_index
from services.api_gateway.filters import Filters
from services.api_gateway.passages import Passages
from services.api_gateway.search import EACH, Search
from tests.integration.gateway import Gateway, add_chunks, finish_job

SPEECH = [
    "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country.",
    "Bake the bread for forty minutes until the crust is golden brown.",
]


async def share_text(gateway: Gateway, text: str = "Some words.") -> str:
    response = await gateway.http.post("/shares", json={"text": text})
    assert response.status_code == 202, response.text
    return str(response.json()["share_id"])


async def search(gateway: Gateway, q: str, **params: str | int) -> SearchAnswer:
    response = await gateway.http.get("/search", params={"q": q, **params})
    assert response.status_code == 200, response.text
    return SearchAnswer.model_validate(response.json())


async def test_pages_of_a_search_have_every_passage_once(gateway: Gateway) -> None:
    texts = [f"What the mill number {n} can do for your country." for n in range(130)]
    for n in range(2):
        await add_chunks(gateway, await share_text(gateway, f"Mills {n}"), texts[n * 65 : n * 65 + 65])
    async with gateway.pool.acquire() as connection:
        await ensure_index(connection, gateway.model.name, 256)
    for mode in ("hybrid", "semantic", "keyword"):
        whole = await search(gateway, "a mill for the country", mode=mode, limit=100)
        assert EACH < len(whole.hits) <= 100, mode
        found = await search(gateway, "a mill for the country", mode=mode, limit=23)
        pages = [found]
        while found.next is not None:
            found = await search(gateway, "a mill for the country", mode=mode, limit=23, cursor=found.next)
            pages.append(found)
        hits = [(hit.share_id, hit.text) for page in pages for hit in page.hits]
        assert hits[:100] == [(hit.share_id, hit.text) for hit in whole.hits], mode
        assert len(set(hits)) == len(hits) >= len(whole.hits)
    assert len(gateway.ledger.ended) == 1, "no page pays for the query again"


async def test_a_cursor_of_another_search_is_one_sentence(gateway: Gateway) -> None:
    await add_chunks(gateway, await share_text(gateway), SPEECH)
    cursor = (await search(gateway, "bread for the country", limit=1)).next
    assert cursor is not None
    for q, wrong in (("the bread", cursor), ("bread for the country", "1.h"), ("bread for the country", "%00")):
        refused = await gateway.http.get("/search", params={"q": q, "cursor": wrong})
        assert refused.status_code == 400
        sentence = "The cursor is none that this search has given: leave it out to begin anew."
        assert Problem.model_validate(refused.json()).detail == sentence
    other = await gateway.http.get("/search", params={"q": "bread for the country", "cursor": cursor, "kind": "text"})
    assert other.status_code == 400, "another filter is another search"


@pytest.mark.parametrize("large", [False, True])
async def test_a_hit_of_media_says_the_moment_of_its_sentence(gateway: Gateway, *, large: bool) -> None:
    url = "https://www.youtube.com/watch?v=abc"
    share_id = (await gateway.http.post("/shares", json={"url": url})).json()["share_id"]
    said = "Good evening. The country is at peace. Ask not what your country can do for you. Thank you all."
    segments = [Segment(start_ms=n * 9_500, end_ms=n * 9_500 + 9_000, text=said) for n in range(2)]
    if large:
        segments += [Segment(start_ms=30_000 + n, end_ms=30_001 + n, text="on and on " * 20) for n in range(4_000)]
    reference = await keep_large(gateway.parts.blobs, segments)
    assert (reference is not None) is large
    result = {
        "segments": [] if large else [segment.model_dump() for segment in segments],
        "segments_ref": reference,
    }
    work_key = f"transcribe:{uuid.uuid4().hex}"
    await add_chunks(gateway, share_id, [said, SPEECH[1]])
    async with gateway.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO work (work_key, stage, result, finished_at) VALUES ($1, 'transcribe', $2, now())",
            work_key,
            result,
        )
        await finish_job(connection, share_id, "transcribe", work_key)
    (hit,) = (await search(gateway, "what can you do for your country", mode="keyword", limit=1)).hits
    assert (hit.start_ms, hit.end_ms) == (0, 9_000)
    assert hit.moment is not None
    assert hit.moment.text == "Ask not what your country can do for you."
    assert 2_000 < hit.moment.start_ms < hit.moment.end_ms < 9_000
    assert hit.moment.url == f"{url}&t={hit.moment.start_ms // 1000}s"


async def whole(gateway: Gateway, work_key: str, text: str) -> None:
    """Let a text's vector stand for all of a piece of work, as the embed agent does."""
    (vector,) = (await gateway.model.embed([text])).vectors
    await gateway.pool.execute(
        "INSERT INTO work_vectors (work_key, embedding_type, model, dimensions, embedding) "
        "VALUES ($1, 'composite', $2, $3, $4::text::halfvec)",
        work_key,
        gateway.model.name,
        len(vector),
        json.dumps(vector),
    )


async def test_in_two_phases_only_the_nearest_shares_are_looked_into(gateway: Gateway) -> None:
    one_share = Search(Passages(gateway.pool), gateway.model, gateway.ledger, shares_first=1)
    bread, speech, theirs, filtered = [await share_text(gateway, f"Text {n}") for n in range(4)]
    question = "how long does the loaf stay in the oven"
    await whole(gateway, await add_chunks(gateway, bread, SPEECH), "Bread and cakes, and how to bake them in an oven")
    await whole(gateway, await add_chunks(gateway, speech, SPEECH), "A speech of a president about the country")
    for other in (theirs, filtered):
        await whole(gateway, await add_chunks(gateway, other, SPEECH), question)
    await gateway.pool.execute("UPDATE shares SET owner = 'somebody' WHERE share_id = $1", theirs)
    await gateway.pool.execute("UPDATE shares SET source_kind = 'upload' WHERE share_id = $1", filtered)
    modes: tuple[SearchMode, ...] = ("hybrid", "semantic")
    for mode in modes:
        both = await search(gateway, question, mode=mode, kind="text", two_phase="true")
        assert {hit.share_id for hit in both.hits} == {bread, speech}, "there are no more than fifty"
        near = await one_share.answer(
            question,
            owner=gateway.parts.owner,
            account="default",
            limit=10,
            mode=mode,
            filters=Filters(kind="text"),
            two_phase=True,
        )
        assert {hit.share_id for hit in near.hits} == {bread}
        assert near.hits[0].text == SPEECH[1], "passages are ranked as ever"
    refused = await gateway.http.get("/search", params={"q": "a", "mode": "keyword", "two_phase": "true"})
    assert refused.status_code == 422


async def test_an_overview_is_found_as_no_passage(gateway: Gateway) -> None:
    share_id = await share_text(gateway)
    work_key = await add_chunks(gateway, share_id, [*SPEECH, "An overview of the country and its windmills."])
    await gateway.pool.execute(
        "UPDATE chunks SET embedding_type = 'summary' WHERE work_key = $1 AND chunk_no = 2", work_key
    )
    for mode in ("hybrid", "semantic", "keyword"):
        found = await search(gateway, "windmills of the country", mode=mode)
        assert found.hits
        assert not [hit for hit in found.hits if "windmills" in hit.text], mode


async def found(gateway: Gateway, **params: str) -> set[str]:
    return {hit.share_id for hit in (await search(gateway, "country", **params)).hits}


async def test_a_kept_answer_hides_nothing_new_and_shows_nothing_that_is_gone(gateway: Gateway) -> None:
    one, two = await share_text(gateway, "One"), await share_text(gateway, "Two")
    assert await found(gateway) == set()
    await add_chunks(gateway, one, SPEECH)
    assert await found(gateway) == {one}
    await add_chunks(gateway, two, SPEECH)
    assert await found(gateway) == {one, two}
    back = f"UPDATE shares SET owner = '{gateway.parts.owner}' WHERE share_id = $1"  # noqa: S608 - a name of ours
    for change, left in (
        ("UPDATE jobs SET state = 'running' WHERE share_id = $1 AND stage = 'embed'", {one, two}),
        ("UPDATE jobs SET state = 'skipped' WHERE share_id = $1 AND stage = 'embed'", {two}),
        ("UPDATE jobs SET state = 'done' WHERE share_id = $1 AND stage = 'embed'", {one, two}),
        ("UPDATE shares SET owner = 'somebody' WHERE share_id = $1", {two}),
        (back, {one, two}),
        ("DELETE FROM shares WHERE share_id = $1", {two}),
    ):
        await gateway.pool.execute(change, one)
        assert await found(gateway) == left, change
    await gateway.pool.execute("UPDATE shares SET title = 'A new one' WHERE share_id = $1", two)
    assert [hit.title for hit in (await search(gateway, "country", limit=1)).hits] == ["A new one"]


async def test_a_kept_answer_knows_what_filters_go_by(gateway: Gateway) -> None:
    share = await share_text(gateway)
    embedded = await add_chunks(gateway, share, SPEECH)
    by = {"category": "politics"}, {"least_quality": "0.5"}, {"language": "en"}
    for params in by:
        assert await found(gateway, **params) == set()
    summary = f"summarize:{uuid.uuid4().hex}"
    await gateway.pool.execute(
        "INSERT INTO work (work_key, stage, result, finished_at) VALUES ($1, 'summarize', $2, now())",
        summary,
        {"category": "politics"},
    )
    async with gateway.pool.acquire() as connection:
        await finish_job(connection, share, "summarize", summary)
    assert await found(gateway, category="politics") == {share}
    await gateway.pool.execute(
        "INSERT INTO insights (work_key, version, language, quality, parts) VALUES ($1, 1, 'en', 0.9, '{}')", embedded
    )
    assert await found(gateway, least_quality="0.5") == await found(gateway, language="en") == {share}


async def test_filters_hold_while_a_share_is_embedded_anew(gateway: Gateway) -> None:
    share = await share_text(gateway)
    embedded = await add_chunks(gateway, share, SPEECH)
    await gateway.pool.execute(
        "INSERT INTO insights (work_key, version, language, quality, parts) VALUES ($1, 1, 'en', 0.9, '{}')", embedded
    )
    await gateway.pool.execute(
        "UPDATE jobs SET state = 'parked', work_key = 'embed:another' WHERE share_id = $1 AND stage = 'embed'", share
    )
    assert await found(gateway, least_quality="0.5") == await found(gateway, language="en") == {share}


async def test_what_had_begun_before_an_answer_was_kept_and_ends_behind_it_counts(gateway: Gateway) -> None:
    share_id = await share_text(gateway)
    work_key = await add_chunks(gateway, share_id, SPEECH)
    model = await gateway.pool.fetchval(
        "UPDATE jobs SET state = 'skipped' WHERE share_id = $1 AND stage = 'embed' RETURNING model", share_id
    )
    async with gateway.pool.acquire() as slow:
        transaction = slow.transaction()
        await transaction.start()
        await finish_job(slow, share_id, "embed", work_key, model)
        # Later ids are taken, and end before.
        await gateway.pool.execute("UPDATE shares SET title = 'Other' WHERE share_id = $1", await share_text(gateway))
        assert await found(gateway) == set()
        await transaction.commit()
    assert await found(gateway) == {share_id}


async def test_an_answer_is_kept_while_others_are_busy(gateway: Gateway) -> None:
    await add_chunks(gateway, await share_text(gateway), SPEECH)
    first = await search(gateway, "country")
    theirs = await share_text(gateway, "Theirs")
    await gateway.pool.execute("UPDATE shares SET owner = 'somebody' WHERE share_id = $1", theirs)
    assert await search(gateway, "country") == first
    mine, others = gateway.parts.owner, f"other-{gateway.parts.owner}"
    passages = Passages(gateway.pool)
    mark, _ = await passages.changed(mine, None)
    await gateway.pool.execute("INSERT INTO search_changes (owner) VALUES ($1)", others)
    assert [(await passages.changed(owner, mark))[1] for owner in (mine, others)] == [False, True]


async def test_changes_of_long_ago_are_forgotten(gateway: Gateway) -> None:
    await gateway.pool.execute(
        "INSERT INTO search_changes (owner, at) VALUES ($1, now() - interval '2 hours')", gateway.parts.owner
    )
    await search(gateway, "country")
    sql = "SELECT count(*) FROM search_changes WHERE at < now() - interval '90 minutes'"
    assert await gateway.pool.fetchval(sql) == 0
