"""Who listens: an API that is as bad as real ones are, and one that stands by for the local model."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from millrace.cli.client import Client
from millrace.contracts.share_api import Receipt, RetryAnswer, ShareRequest, ShareView, StageWish
from millrace.testing.media import JFK_WAV
from tests.e2e.harness import Running, busy, millrace_up, stage
from tests.e2e.media import repeated_speech
from tests.support.provider import Provider, Way, serve_provider
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.chaos, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with serve_provider() as served:
        yield served


@pytest.fixture(scope="module")
def running(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Everything; a local model listens, the stand-in hears what it cannot."""
    environment = provider.environment(hears=True) | {
        "MILLRACE_STT_BACKEND": "local",
        "MILLRACE_STT_FALLBACK": "true",
        "MILLRACE_WHISPER_BATCH": "2",
        "MILLRACE_EMBED_BACKEND": "local",
    }
    with millrace_up(tmp_path_factory.mktemp("millrace"), environment) as started:
        yield started


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with running.client() as made:
        yield made


def models_of(running: Running) -> list[psutil.Process]:
    return psutil.Process(running.part("transcribe_agent").pid).children()


def heard(provider: Provider, since: int) -> int:
    """What was billed for sound."""
    return sum(line.micro_usd for line in provider.invoice[since:] if line.path.endswith("/transcriptions"))


def receipts(view: ShareView) -> list[Receipt]:
    return [receipt for receipt in view.receipts if receipt.stage == "transcribe"]


@pytest.mark.parametrize("signalled", [signal.SIGKILL, signal.SIGSTOP], ids=["out of memory", "too slow"])
def test_what_the_local_model_cannot_hear_the_api_does_within_the_same_work(
    running: Running, provider: Provider, client: Client, tmp_path: Path, signalled: signal.Signals
) -> None:
    """The kernel ends by SIGKILL who takes too much memory; a model that is stopped hears nothing in its time."""
    before = len(provider.invoice)
    times = 30 if signalled == signal.SIGKILL else 29
    share = client.upload(repeated_speech(tmp_path, times), ShareRequest()).share_id
    until(lambda: (client.share(share).stages[1].progress or 0) > 0.12, "the model to have heard something", 60)
    os.kill(busy(models_of(running)).pid, signalled)
    view = client.wait(share, within_s=200)
    assert stage(view, "transcribe") == "done"
    assert view.transcript is not None
    assert "what your country can do for you" in view.transcript.text, "what the local model had heard"
    assert view.transcript.text.endswith("something"), "and what the stand-in hears"
    found = receipts(view)
    assert {receipt.state for receipt in found} == {"settled"}
    assert [r.model for r in found] == sorted((r.model for r in found), reverse=True), "the API after the local one"
    assert sum(r.actual_micro_usd or 0 for r in found) == heard(provider, before) > 0
    works = "SELECT count(DISTINCT work_key) AS works FROM calls WHERE share_id = %s AND scope = 'transcribe'"
    (row,) = running.sql(works, share)
    assert row["works"] == 1


@pytest.fixture(scope="module")
def by_api(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    environment = provider.environment(hears=True) | {
        "MILLRACE_STT_TIMEOUT_S": "2",
        "MILLRACE_EMBED_BACKEND": "local",
    }
    with millrace_up(tmp_path_factory.mktemp("millrace"), environment) as started:
        yield started


WAYS = {
    "busy": Way(status=429, retry_after_s=1),
    "broken down": Way(status=500),
    "late": Way(delay_s=4),
    "nonsense": Way(nonsense=True),
    "cut off": Way(broken=True),
}


def test_an_api_that_fails_in_every_way_is_paid_for_what_it_billed_and_no_more(
    by_api: Running, provider: Provider, tmp_path: Path
) -> None:
    """One way a share: all failures at once would have the API left alone."""
    begun = len(provider.invoice)
    with by_api.client() as client:
        for number, (name, way) in enumerate(WAYS.items(), 1):
            provider.ways.append(way)
            share = client.upload(repeated_speech(tmp_path, number, f"{number}.wav"), ShareRequest()).share_id
            view = client.wait(share, within_s=60)
            assert stage(view, "transcribe") == "done", name
            assert view.transcript is not None
            assert view.transcript.text == "something"
            lost = "released" if name in {"busy", "broken down"} else "unconfirmed"
            assert sorted(receipt.state for receipt in receipts(view)) == sorted([lost, "settled"]), name
    (row,) = by_api.sql(
        "SELECT sum(CASE state WHEN 'settled' THEN actual_micro_usd WHEN 'unconfirmed' THEN hold_micro_usd END)"
        "::bigint AS charged FROM calls WHERE model = 'stand-in-ears'"
    )
    assert row["charged"] == heard(provider, begun) > 0


def test_a_command_says_whether_an_api_or_this_machine_does_the_work(by_api: Running, provider: Provider) -> None:
    with by_api.client() as client:
        share = client.upload(JFK_WAV, ShareRequest()).share_id
        client.wait(share, within_s=60)
        paid = len(provider.invoice)

        def asked(stage_name: str, backend: str, comes: Callable[[ShareView], bool]) -> None:
            wish = StageWish.model_validate({"backend": backend})
            client.post(f"/shares/{share}/stages/{stage_name}", RetryAnswer, wish)
            until(lambda: comes(client.share(share)), f"{stage_name} by {backend}")

        def said(text: str) -> Callable[[ShareView], bool]:
            return lambda view: view.transcript is not None and text in view.transcript.text

        def summed_up(model: str) -> Callable[[ShareView], bool]:
            return lambda view: (
                view.summary is not None and view.summary.summary != "" and view.summary.model.startswith(model)
            )

        assert said("something")(client.share(share))
        asked("transcribe", "local", said("what your country can do for you"))
        assert heard(provider, paid) == 0
        until(lambda: summed_up("stand-in-chat")(client.share(share)), "the new transcript to be summarized")
        summaries = len(provider.invoice)
        asked("summarize", "local", summed_up("lexrank-"))
        assert len(provider.invoice) == summaries
        asked("embed", "api", lambda view: stage(view, "embed") == "failed")  # its settings open no API
        asked("transcribe", "api", said("something"))
        assert heard(provider, paid) == 0, "it was paid for already"
