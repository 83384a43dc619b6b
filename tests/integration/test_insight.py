"""Near-duplicates, quality, language and digests, over a real PostgreSQL with real vectors."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from millrace.contracts.insight_api import DigestAnswer, DuplicatesAnswer
from millrace.contracts.search_api import SearchAnswer
from millrace.contracts.share_api import ShareView
from millrace.store.database import Database
from services.api_gateway.digest_rows import DigestRows
from services.embed_agent.adapters.insights import keeping_insights, look
from services.embed_agent.domain import Source
from services.embed_agent.insight import Insight, insight_of
from tests.integration.gateway import Gateway, add_chunks, finish_job
from tests.support.waiting import eventually

WHEEL = (
    "The river had fallen so low that the paddles of our undershot wheel barely touched the surface. We had ground "
    "nothing for nine days, and two bakers had already bought flour elsewhere. My uncle raised the weir by a hand."
)
CHANGED = WHEEL.replace("My uncle raised the weir by a hand.", "Then it rained for a week, and all was well again.")
WHEEL_GERMAN = (
    "Der Fluss stand so tief, dass die Schaufeln unseres Rades das Wasser kaum noch berührten. Neun Tage lang hatten "
    "wir nichts gemahlen, und zwei Bäcker hatten ihr Mehl schon anderswo gekauft."
)
BREAD = "Bake the loaf for forty minutes in a hot oven until its crust is brown, then let it rest on a rack."
SPAM = "BUY NOW!!! BUY NOW!!! BUY NOW!!! https://spam.example/now BUY NOW!!! " * 20
NIGHT_SKY = (
    "Through the telescope Saturn showed its rings, and four of its moons stood in a line beside the planet.",
    "A telescope with a wide mirror gathers more light, so that faint galaxies and planets come into view.",
    "Jupiter and its moons are the first planet that most people see through a small telescope.",
)
ESPRESSO = (
    "An espresso machine forces hot water through finely ground coffee at nine bars of pressure.",
    "Grind the coffee finer when the espresso runs too fast, and coarser when it chokes the machine.",
    "Fresh coffee beans make a thicker crema on the espresso than beans that are a month old.",
)


async def shared(gateway: Gateway, text: str, *, chunks: Sequence[str] | None = None, **fields: str) -> str:
    """A text share that was embedded, and whose text was looked at."""
    response = await gateway.http.post("/shares", json={"text": text, **fields})
    assert response.status_code == 202, response.text
    share_id = str(response.json()["share_id"])
    await add_chunks(gateway, share_id, chunks or [text])
    await seen(gateway)
    return share_id


async def seen(gateway: Gateway) -> None:
    while await look(Database(gateway.pool)):
        pass


async def summarised(gateway: Gateway, share_id: str, **result: object) -> None:
    work_key = f"summarize:{uuid.uuid4().hex}"
    async with gateway.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO work (work_key, stage, result, finished_at) VALUES ($1, 'summarize', $2, now())",
            work_key,
            {"summary": "", "backend": "api", "model": "m", **result},
        )
        await finish_job(connection, share_id, "summarize", work_key)


async def duplicates(gateway: Gateway, share_id: str, **params: float) -> DuplicatesAnswer:
    response = await gateway.http.get(f"/shares/{share_id}/duplicates", params=params)
    assert response.status_code == 200, response.text
    return DuplicatesAnswer.model_validate_json(response.content)


async def digest(gateway: Gateway, **params: str | int) -> DigestAnswer:
    response = await gateway.http.get("/digest", params=params)
    assert response.status_code == 200, response.text
    return DigestAnswer.model_validate_json(response.content)


async def found(gateway: Gateway, q: str, **params: str | float) -> list[str]:
    response = await gateway.http.get("/search", params={"q": q, "mode": "keyword", **params})
    assert response.status_code == 200, response.text
    return [hit.share_id for hit in SearchAnswer.model_validate_json(response.content).hits]


async def test_shares_that_say_nearly_the_same_are_found_and_others_are_not(gateway: Gateway) -> None:
    wheel = await shared(gateway, WHEEL)
    same = await shared(gateway, "  ".join(WHEEL.upper().split()), title="In capitals")
    changed = await shared(gateway, CHANGED)
    await shared(gateway, BREAD)
    answer = await duplicates(gateway, wheel)
    assert [one.share_id for one in answer.duplicates] == [same, changed]
    first, second = answer.duplicates
    assert (first.jaccard, first.by, first.title) == (1.0, ["content"], "In capitals")
    assert second.jaccard is not None
    assert second.cosine is not None
    assert 0.4 < second.jaccard < 1
    assert 0.75 < second.cosine < 1
    assert second.by == ["content", "vector"]
    assert answer.note is None
    assert [one.share_id for one in (await duplicates(gateway, wheel, least_jaccard=0.99)).duplicates[:1]] == [same]
    assert len((await duplicates(gateway, wheel, limit=1)).duplicates) == 1


async def test_the_same_work_of_two_shares_is_one_duplicate_of_the_other(gateway: Gateway) -> None:
    one, other = await shared(gateway, WHEEL), await shared(gateway, WHEEL)
    await gateway.pool.execute(
        "UPDATE jobs SET work_key = (SELECT work_key FROM jobs WHERE share_id = $1 AND stage = 'embed') "
        "WHERE share_id = $2 AND stage = 'embed'",
        one,
        other,
    )
    (duplicate,) = (await duplicates(gateway, one)).duplicates
    assert (duplicate.share_id, duplicate.jaccard, duplicate.cosine) == (other, 1.0, 1.0)


async def test_nothing_of_other_owners_is_told(gateway: Gateway) -> None:
    mine, theirs = await shared(gateway, WHEEL), await shared(gateway, WHEEL)
    await gateway.pool.execute("UPDATE shares SET owner = 'somebody else' WHERE share_id = $1", theirs)
    assert (await duplicates(gateway, mine)).duplicates == []
    told = await digest(gateway)
    assert (told.count, [share.share_id for share in told.others], told.topics) == (1, [mine], [])
    for unknown in (theirs, str(uuid.uuid4()), "%00"):
        response = await gateway.http.get(f"/shares/{unknown}/duplicates")
        assert (response.status_code, response.json()["detail"]) == (404, "There is no share with this id.")


async def test_signatures_of_other_rules_are_not_compared(gateway: Gateway) -> None:
    one, other = await shared(gateway, WHEEL), await shared(gateway, WHEEL.upper())
    await gateway.pool.execute(
        "UPDATE insights i SET version = 'other' FROM jobs j WHERE j.work_key = i.work_key AND j.share_id = $1", other
    )
    assert (await duplicates(gateway, one)).duplicates == []
    await seen(gateway)
    assert [found.share_id for found in (await duplicates(gateway, one)).duplicates] == [other]


async def test_what_could_not_be_compared_is_said(gateway: Gateway) -> None:
    response = await gateway.http.post("/shares", json={"text": WHEEL})
    share_id = response.json()["share_id"]
    assert (await duplicates(gateway, share_id)).note == (
        "This share's text is not there yet, so nothing could be compared."
    )
    await add_chunks(gateway, share_id, [WHEEL])
    note = (await duplicates(gateway, share_id)).note
    assert note == "This share's words have not been looked at yet: ask again in a few seconds."


async def test_texts_are_looked_at_beside_other_work(gateway: Gateway) -> None:
    async def quality() -> object:
        return (await gateway.http.get(f"/shares/{share_id}")).json()["quality"]

    async with keeping_insights(Database(gateway.pool), every_s=0.05):
        response = await gateway.http.post("/shares", json={"text": WHEEL})
        share_id = response.json()["share_id"]
        assert await quality() is None
        await add_chunks(gateway, share_id, [WHEEL])
        await eventually(quality, "the text to be looked at")


async def test_a_text_that_breaks_the_rules_does_not_keep_others_from_being_looked_at(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    def tell(text: str, source: Source, content_type: str) -> Insight:
        if text == BREAD:
            raise ValueError("nobody thought of bread")
        return insight_of(text, source, content_type)

    broken, sound = [(await gateway.http.post("/shares", json={"text": text})).json() for text in (BREAD, WHEEL)]
    for share, text in ((broken, BREAD), (sound, WHEEL)):
        await add_chunks(gateway, share["share_id"], [text])
    while await look(Database(gateway.pool), tell=tell):
        pass
    views = [(await gateway.http.get(share["href"])).json() for share in (broken, sound)]
    assert [view["quality"]["score"] > 0 for view in views] == [False, True]
    assert "could not be looked at" in caplog.text


async def test_texts_that_other_rules_have_looked_at_are_looked_at_again(gateway: Gateway) -> None:
    share_id = await shared(gateway, WHEEL)
    await gateway.pool.execute("UPDATE insights SET version = 'old', quality = 0")
    await seen(gateway)
    view = ShareView.model_validate_json((await gateway.http.get(f"/shares/{share_id}")).content)
    assert view.quality is not None
    assert view.quality.score > 0.8


async def test_what_was_said_in_media_is_looked_at_as_well(gateway: Gateway) -> None:
    response = await gateway.http.post("/shares", json={"url": "https://example.org/talk.mp4"})
    share_id = response.json()["share_id"]
    async with gateway.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO work (work_key, stage, result, finished_at) VALUES ($1, 'transcribe', $2, now())",
            f"transcribe:{share_id}",
            {"text": WHEEL, "duration_ms": 1, "backend": "local", "model": "m"},
        )
        await finish_job(connection, share_id, "transcribe", f"transcribe:{share_id}")
    await add_chunks(gateway, share_id, [BREAD])
    await seen(gateway)
    text = await shared(gateway, WHEEL)
    (duplicate,) = (await duplicates(gateway, text)).duplicates
    assert (duplicate.share_id, duplicate.by) == (share_id, ["content"])


async def test_quality_is_a_models_or_that_of_the_rule_and_can_be_asked_for(gateway: Gateway) -> None:
    good, spam, judged = [await shared(gateway, text) for text in (WHEEL, f"wheel {SPAM}", f"A wheel. {BREAD}")]
    await summarised(gateway, judged, quality=0.1)
    views = [
        ShareView.model_validate_json((await gateway.http.get(f"/shares/{one}")).content)
        for one in (good, spam, judged)
    ]
    told = [(view.quality.by, view.quality.score) for view in views if view.quality is not None]
    assert [by for by, _ in told] == ["rule", "rule", "model"]
    (_, of_good), (_, of_spam), (_, of_judged) = told
    assert of_good > 0.8
    assert of_spam < 0.1
    assert of_judged == 0.1
    assert set(await found(gateway, "wheel")) == {good, spam, judged}
    assert await found(gateway, "wheel", least_quality=0.5) == [good]
    assert set(await found(gateway, "wheel", least_quality=0.1)) == {good, judged}


async def test_the_language_of_a_share_without_a_summary_is_known(gateway: Gateway) -> None:
    german, english = await shared(gateway, WHEEL_GERMAN), await shared(gateway, f"{WHEEL} Rades")
    assert set(await found(gateway, "Rades")) == {german, english}
    assert await found(gateway, "Rades", language="de-AT") == [german]
    said = await shared(gateway, f"{WHEEL_GERMAN} ", language="gsw")
    assert await found(gateway, "Rades", language="de") == [german], "what was said with a share goes before"
    view = ShareView.model_validate_json((await gateway.http.get(f"/shares/{said}")).content)
    assert (view.language, view.text_language) == ("gsw", "de")


async def test_a_digest_groups_shares_by_topic_and_names_them(gateway: Gateway) -> None:
    sky = [await shared(gateway, text, title="Planets at night") for text in NIGHT_SKY]
    coffee = [await shared(gateway, text) for text in ESPRESSO]
    alone = await shared(gateway, "The court has put off the hearing about the lease of the harbour until spring.")
    await summarised(gateway, sky[0], summary="Saturn has rings. It has moons.", tags=["Saturn"])
    answer = await digest(gateway)
    assert [(topic.count, {share.share_id for share in topic.shares}) for topic in answer.topics] in (
        [(3, set(sky)), (3, set(coffee))],
        [(3, set(coffee)), (3, set(sky))],
    )
    by_share = {share.share_id: topic for topic in answer.topics for share in topic.shares}
    assert "telescope" in by_share[sky[0]].label
    assert "espresso" in by_share[coffee[0]].label.casefold()
    assert [share.share_id for share in answer.others] == [alone]
    assert (answer.count, answer.grouped, answer.others_count, answer.note) == (7, 7, 1, None)
    (first,) = [share for share in by_share[sky[0]].shares if share.share_id == sky[0]]
    assert (first.sentence.strip(), first.title) == ("Saturn has rings.", "Planets at night")
    assert first.href == f"/shares/{sky[0]}"
    assert [topic.count for topic in (await digest(gateway, limit=1)).topics] == [3, 3]
    assert [len(topic.shares) for topic in (await digest(gateway, limit=1)).topics] == [1, 1]


async def test_words_that_say_nothing_are_known_in_many_languages(gateway: Gateway) -> None:
    rows = DigestRows(gateway.pool)
    words = ["the", "mill", "und", "mühle", "les", "moulin"]
    assert await rows.stop_words(words, ["en-GB"]) == {"the"}
    assert await rows.stop_words(words, ["de", None]) == {"the", "und"}
    assert await rows.stop_words(words, ["fr"]) == {"les"}
    assert await rows.stop_words(words, ["ja"]) == set()


async def test_a_digest_is_of_its_period(gateway: Gateway) -> None:
    old, new = await shared(gateway, WHEEL), await shared(gateway, CHANGED)
    now = datetime.now(UTC)
    await gateway.pool.execute("UPDATE shares SET created_at = $2 WHERE share_id = $1", old, now - timedelta(days=30))
    assert [share.share_id for share in (await digest(gateway)).others] == [new]
    before = await digest(gateway, since="2020-01-01T00:00:00Z", until=(now - timedelta(days=8)).isoformat())
    assert [share.share_id for share in before.others] == [old]
    both = await digest(gateway, since="2020-01-01T00:00:00Z")
    assert [topic.count for topic in both.topics] == [2]


async def test_empty_periods_one_share_and_the_same_share_again(gateway: Gateway) -> None:
    empty = await digest(gateway)
    assert (empty.count, empty.topics, empty.others, empty.note) == (0, [], [], None)
    one = await shared(gateway, WHEEL)
    assert [share.share_id for share in (await digest(gateway)).others] == [one]
    for _ in range(21):  # enough to tell how near any two are
        await shared(gateway, WHEEL, title="Our wheel")
    same = await digest(gateway)
    assert [(topic.count, len(topic.shares)) for topic in same.topics] == [(22, 10)]
    assert "wheel" in same.topics[0].label


async def test_a_digest_says_what_it_leaves_out(gateway: Gateway) -> None:
    await shared(gateway, WHEEL)
    await gateway.http.post("/shares", json={"text": BREAD})
    answer = await digest(gateway)
    assert (answer.count, answer.grouped) == (2, 1)
    assert answer.note == "1 share is left out, without vectors of the model in use."


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "The period is empty: since is not before until."),
        ("until=0001-01-02T00:00:00Z", "The period begins before the year 1."),
    ],
)
async def test_a_period_that_makes_no_sense_is_one_sentence(gateway: Gateway, query: str, detail: str) -> None:
    response = await gateway.http.get(f"/digest?{query}")
    assert (response.status_code, response.json()["detail"]) == (422, detail)
