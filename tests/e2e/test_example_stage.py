"""The stage of examples/links on the real parts: everything that a stage has, it has without a line of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from examples.links.stage import LinksReady
from millrace.contracts.events import ShareEvent
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.kafka.producer import open_producer
from tests.chaos.target import LINKS, LINKS_CONTRACTS
from tests.e2e.apart import Apart, apart
from tests.support.kafka import read_all
from tests.support.provider import Provider, serve_provider
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
BUDGETS: Final = '[default.links]\nhour = "1"\nday = "1"\n'
SERVICES: Final = ("cost_ledger", "links_agent", "api_gateway")


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with serve_provider() as served:
        served.reply = LINKS.reply
        yield served


@pytest.fixture(scope="module")
def parts(provider: Provider) -> Iterator[Apart]:
    environment = {
        "MILLRACE_CONTRACTS": str(LINKS_CONTRACTS),
        "OPENAI_API_KEY": "sk-stand-in",
        "MILLRACE_LLM_BASE_URL": provider.url,
        "MILLRACE_LLM_MODEL": "stand-in-chat",
        "MILLRACE_LLM_PRICE_IN": "0.50",
        "MILLRACE_LLM_PRICE_OUT": "2.00",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLRACE_CONTRACTS", str(LINKS_CONTRACTS))  # for what the stack is given its topics with
        with apart(environment, {"MILLRACE_BUDGETS": BUDGETS}) as made:
            made.start(SERVICES)
            yield made


def transcript(parts: Apart, text: str) -> str:
    """Somebody's transcript is ready; the id of the share."""
    share = str(uuid.uuid4())
    asyncio.run(publish(parts, LINKS.event(share, text, "default")))
    return share


async def publish(parts: Apart, event: ShareEvent) -> None:
    with Registry(parts.addresses.registry) as registry:
        codec = await Codec.connect(registry, LINKS.catalog(), (LINKS.reads,))
        async with open_producer(parts.addresses.cluster) as producer:
            raw = codec.encode(LINKS.reads, event)
            await producer.send(LINKS.reads, key=event.share_id.encode(), value=raw, headers=[])


async def results(parts: Apart) -> list[LinksReady]:
    """What the stage has told."""
    with Registry(parts.addresses.registry) as registry:
        codec = await Codec.connect(registry, LINKS.catalog(), ())
        raw = await asyncio.to_thread(read_all, parts.addresses.kafka, LINKS.writes)
        found = [await codec.decode(LINKS.writes, message.value() or b"") for message in raw]
    return [event for event in found if isinstance(event, LinksReady)]


def ends(parts: Apart, share: str, state: str) -> dict[str, object]:
    """The share's job, once it is in that state."""
    sql = "SELECT * FROM jobs WHERE share_id = %s AND stage = 'links' AND state = %s"
    found: list[dict[str, object]] = until(lambda: parts.sql(sql, share, state), f"{share} to be {state}")
    return found[0]


def test_links_are_found_once_for_the_same_words_and_paid_by_the_books(parts: Apart, provider: Provider) -> None:
    shares = [transcript(parts, "See mill dot example slash race.") for _ in range(3)]
    jobs = [ends(parts, share, "done") for share in shares]
    assert len(provider.invoice) == 1, "equal words are equal work"
    told = {event.share_id: event for event in asyncio.run(results(parts))}
    assert [told[share].links for share in shares] == [["mill.example/race"]] * 3
    assert sorted(event.cost_micro_usd for event in told.values()) == [told[shares[0]].cost_micro_usd] * 3
    billed = sum(int(str(job["cost_micro_usd"])) for job in jobs)
    until(lambda: settled(parts) == billed, "the ledger to have the cost")
    metrics = httpx.get(f"{parts.workers['links_agent'].url}/metrics", trust_env=False).text
    assert 'ml_tasks_total{stage="links",state="done"} 3.0' in metrics


def asked(parts: Apart, *words: str) -> dict[str, Any]:
    """What a command says that asks the gateway."""
    document: dict[str, Any] = parts.millrace_json(*words, "--gateway", parts.gateway)
    return document


def settled(parts: Apart) -> int:
    budget = asked(parts, "budget", "show")
    return sum(
        row["settled_micro_usd"] for row in budget["rows"] if (row["scope"], row["window"]) == ("links", "day")
    )


def test_silence_costs_nothing(parts: Apart, provider: Provider) -> None:
    before = provider.requests
    job = ends(parts, transcript(parts, " "), "skipped")
    assert job["reason"] == "no-words"
    assert provider.requests == before


def test_without_money_it_waits_and_a_raised_cap_wakes_it(parts: Apart, provider: Provider) -> None:
    asked(parts, "budget", "set", "links", "--hour", "0.000001")
    before = provider.requests
    share = transcript(parts, "Nothing is left for this.")
    assert ends(parts, share, "parked")["cap"] == "hour:links"
    assert provider.requests == before
    asked(parts, "budget", "set", "links", "--hour", "1")
    ends(parts, share, "done")
    assert provider.requests == before + 1


def test_what_fails_for_good_is_a_dead_letter_that_can_be_redriven(parts: Apart, provider: Provider) -> None:
    provider.status = lambda _: 400
    share = transcript(parts, "The API refuses these words.")
    ends(parts, share, "failed")
    (letter,) = until(lambda: asked(parts, "dead", "list", "--stage", "links")["letters"], "the letter to be shown")
    assert (letter["share_id"], letter["error"]) == (share, "Poison")
    provider.status = lambda _: 200
    asked(parts, "dead", "redrive", letter["id"])
    ends(parts, share, "done")


def test_a_replay_costs_nothing_and_tells_again(parts: Apart, provider: Provider) -> None:
    before, told = provider.requests, Counter(event.share_id for event in asyncio.run(results(parts)))
    done = {
        str(row["share_id"])
        for row in parts.sql("SELECT share_id FROM jobs WHERE stage = 'links' AND state = 'done'")
    }
    report = parts.millrace_json("replay", "links")
    assert report["published"] == report["shares"] >= len(done)

    def again() -> bool:
        now = Counter(event.share_id for event in asyncio.run(results(parts)))
        return all(now[share] == told[share] + 1 for share in done)

    until(again, "all of them to be told again")
    assert provider.requests == before
