"""kill -9 of any one service in the middle of a job: the share finishes, and the ledger's sums are right.

Summaries and embeddings come from a stand-in for a paid provider here, which bills every request that reaches it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest, ShareView
from millrace.testing.media import ARTICLE, JFK_WAV
from tests.e2e.files import FileServer, serve_file
from tests.e2e.harness import Running, millrace_up, stage
from tests.e2e.media import repeated_speech
from tests.support.provider import Provider, serve_provider
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.chaos, pytest.mark.timeout(300)]

WITHIN_S = 120.0


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with serve_provider() as served:
        yield served


@pytest.fixture(scope="module")
def files() -> Iterator[FileServer]:
    with serve_file(JFK_WAV, "audio/wav") as served:
        yield served


@pytest.fixture(scope="module")
def billed(provider: Provider, files: FileServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    environment = provider.environment(embeds=True) | {
        "MILLRACE_TRANSCRIBE_PRICE_PER_SECOND": "0.0001",
        "MILLRACE_FETCH_ALLOW": files.address,
        "MILLRACE_LEASE_S": "4",
    }
    with millrace_up(tmp_path_factory.mktemp("billed"), environment) as running:
        yield running


@pytest.fixture
def client(billed: Running) -> Iterator[Client]:
    with billed.client() as made:
        yield made


@pytest.fixture(autouse=True)
def sums_are_right(billed: Running, provider: Provider) -> Iterator[None]:
    """After every test: calls, journal and provider's invoice agree, and nothing is held any more."""
    provider.gate.set()
    yield
    provider.gate.set()
    until(lambda: not _held(billed), "every hold to be settled, released or unconfirmed", 60)
    (calls,) = billed.sql(
        """
        SELECT coalesce(sum(actual_micro_usd) FILTER (WHERE state = 'settled'), 0)::bigint AS settled,
               coalesce(sum(hold_micro_usd) FILTER (WHERE state = 'unconfirmed'), 0)::bigint AS unconfirmed
          FROM calls
        """
    )

    def journal() -> dict[str, object]:
        (row,) = billed.sql(
            "SELECT sum(settled_micro_usd)::bigint AS settled, sum(unconfirmed_micro_usd)::bigint AS unconfirmed "
            "FROM ledger_hourly WHERE scope <> 'total'"
        )
        return row

    until(lambda: journal() == calls, f"the journal {journal()} to agree with the calls {calls}", 30)
    paid = billed.sql(
        "SELECT coalesce(sum(actual_micro_usd), 0)::bigint AS kept FROM calls WHERE scope <> 'transcribe'"
    )
    invoice = provider.total_micro_usd()
    lost = billed.sql(
        "SELECT coalesce(sum(hold_micro_usd), 0)::bigint AS held FROM calls "
        "WHERE state = 'unconfirmed' AND scope <> 'transcribe'"
    )
    kept, held = paid[0]["kept"], lost[0]["held"]
    assert isinstance(kept, int)
    assert isinstance(held, int)
    assert kept <= invoice <= kept + held, "what the provider billed is not covered by the books"


def _held(running: Running) -> bool:
    (row,) = running.sql("SELECT coalesce(sum(held_micro_usd), 0)::bigint AS held FROM ledger_hourly")
    return row["held"] != 0


def text() -> ShareRequest:
    """An article that nobody shared before."""
    return ShareRequest(text=f"{ARTICLE.read_text()}\n\nCopy {uuid.uuid4()}.", content_type="article")


def finished(client: Client, share_id: str) -> ShareView:
    view = client.wait(share_id, within_s=WITHIN_S)
    assert view.state == "done", view.stages
    return view


def running_stage(client: Client, share_id: str, name: str) -> bool:
    return stage(client.share(share_id), name) == "running"


@pytest.mark.parametrize("agent", ["summarize", "embed"])
def test_an_agent_that_dies_during_a_paid_call(
    billed: Running, provider: Provider, client: Client, agent: str
) -> None:
    provider.gate.clear()
    before = len(provider.invoice)
    share = client.add(text()).share_id
    provider.wait_for_calls(before + 2)  # one for the summary, one for the embedding, both unanswered
    old = billed.kill(f"{agent}_agent")
    provider.gate.set()
    billed.wait_restarted(f"{agent}_agent", old)
    view = finished(client, share)
    lost = [r for r in view.receipts if r.state == "unconfirmed"]
    assert [r.stage for r in lost] == [agent], "the call in flight stays charged until somebody knows better"
    assert {r.stage for r in view.receipts if r.state == "settled"} == {"summarize", "embed"}


def test_the_transcriber_dies_while_it_listens(billed: Running, client: Client, tmp_path: Path) -> None:
    share = client.upload(repeated_speech(tmp_path, 40), ShareRequest()).share_id
    until(lambda: _heard(billed, share) and _listening(billed, share), "some to be heard, and more listened to", 60)
    old = billed.kill("transcribe_agent")
    before = _heard(billed, share)
    billed.wait_restarted("transcribe_agent", old)
    view = finished(client, share)
    assert view.transcript is not None
    assert 30 <= view.transcript.text.lower().count("ask not what your country can do for you") <= 40
    assert _heard(billed, share)[: len(before)] == before, "what was heard before is not heard again"
    states = sorted(r.state for r in view.receipts if r.stage == "transcribe")
    assert states[-1] == "unconfirmed", "the chunk that was in flight"
    assert set(states[:-1]) == {"settled"}


def _heard(running: Running, share: str) -> list[dict[str, object]]:
    """The calls whose answers are kept, in the order of the chunks that they are about."""
    return running.sql(
        "SELECT call_no, request_id::text, answer FROM calls WHERE share_id = %s AND scope = 'transcribe' "
        "AND state IN ('answered', 'settled') ORDER BY call_no",
        share,
    )


def _listening(running: Running, share: str) -> bool:
    """A chunk is with the model; between two of them a kill finds none."""
    calling = "SELECT FROM calls WHERE share_id = %s AND scope = 'transcribe' AND state = 'calling'"
    return bool(running.sql(calling, share))


def test_the_media_agent_dies_in_the_middle_of_a_download(billed: Running, files: FileServer, client: Client) -> None:
    files.gate.clear()
    share = client.add(ShareRequest(url=f"http://{files.address}/talk.wav")).share_id
    until(lambda: files.requests >= 1 and running_stage(client, share, "media"), "the download to begin")
    old = billed.kill("media_agent")
    files.gate.set()
    billed.wait_restarted("media_agent", old)
    view = finished(client, share)
    assert view.transcript is not None
    assert "ask not what your country" in view.transcript.text.lower()


def test_the_ledger_dies_between_a_grant_and_its_settlement(
    billed: Running, provider: Provider, client: Client
) -> None:
    provider.gate.clear()
    before = len(provider.invoice)
    share = client.add(text()).share_id
    provider.wait_for_calls(before + 2)
    old = billed.kill("cost_ledger")
    provider.gate.set()
    view = finished(client, share)
    billed.wait_restarted("cost_ledger", old)
    assert {r.state for r in view.receipts} == {"settled"}


def test_without_a_ledger_nothing_is_bought_and_all_goes_on_when_it_is_back(
    billed: Running, provider: Provider, client: Client
) -> None:
    old = billed.kill("cost_ledger")
    before = len(provider.invoice)
    share = client.add(text()).share_id
    billed.wait_restarted("cost_ledger", old)
    view = finished(client, share)
    assert {r.state for r in view.receipts if r.actual_micro_usd is not None} == {"settled"}
    assert len(provider.invoice) == before + 2


def test_the_gateway_dies_right_after_it_accepted(billed: Running, client: Client) -> None:
    share = client.add(text()).share_id
    old = billed.kill("api_gateway")
    billed.wait_restarted("api_gateway", old)
    with billed.client() as again:
        finished(again, share)
