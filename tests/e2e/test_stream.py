"""The whole way of a share, on the real parts."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import cast

import psutil
import pysubs2
import pytest

from millrace.cli.client import Client
from millrace.cli.demo import make_video
from millrace.contracts.share_api import ShareRequest, ShareView
from millrace.testing.media import ARTICLE
from tests.e2e.harness import Running, stage
from tests.e2e.media import repeated_speech, silent_video
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
WORDS = "ask not what your country can do for you"
WITHIN_S = 120.0
MOST_MEGABYTES = 2_500


@pytest.fixture(scope="module")
def video(client: Client, tmp_path_factory: pytest.TempPathFactory) -> ShareView:
    made = make_video(tmp_path_factory.mktemp("video"))
    accepted = client.upload(made, ShareRequest(title="Inaugural address"))
    return client.wait(accepted.share_id, within_s=WITHIN_S)


def test_real_speech_becomes_a_transcript_with_times(video: ShareView) -> None:
    assert video.state == "done", video.stages
    assert video.transcript is not None
    assert WORDS in video.transcript.text.lower()
    assert video.transcript.segments[0].start_ms < 2000
    assert 8000 < video.transcript.segments[-1].end_ms <= 11_100


def test_its_transcript_is_a_file_that_players_read(running: Running, video: ShareView, tmp_path: Path) -> None:
    file = tmp_path / "speech.srt"
    program = [sys.executable, "-m", "millrace.cli.main", "share", "transcript", video.share_id, "-o", str(file)]
    gateway = {"MILLRACE_GATEWAY": running.addresses["gateway"], "MILLRACE_TOKEN": running.addresses["token"]}
    subprocess.run(program, env=os.environ | gateway, check=True, capture_output=True, timeout=60)
    events = pysubs2.load(str(file), format_="srt")
    assert WORDS in " ".join(event.plaintext for event in events).replace("\n", " ").lower()
    assert all(before.end <= event.start < event.end <= 11_500 for before, event in pairwise(events))


def test_every_stage_left_a_receipt_and_the_ledger_agrees(running: Running, video: ShareView) -> None:
    paid = {r.stage: r for r in video.receipts}
    # The same words may have been embedded for another share before, cut at other moments: then nothing was bought.
    assert set(paid) | {"embed"} == {"transcribe", "summarize", "embed"}
    bought = """
        SELECT k.state
          FROM jobs j JOIN chunks c ON c.work_key = j.work_key
          JOIN chunks o ON (o.model, o.content_hash) = (c.model, c.content_hash)
          JOIN calls k ON k.work_key = o.work_key
         WHERE j.share_id = %s AND j.stage = 'embed'
    """
    assert {row["state"] for row in running.sql(bought, video.share_id)} == {"settled"}
    assert all(r.state == "settled" for r in video.receipts)
    speech = paid["transcribe"]
    assert 0 < (speech.actual_micro_usd or 0) <= speech.hold_micro_usd

    def entries() -> list[dict[str, object]]:
        return running.sql(
            "SELECT * FROM ledger_entries WHERE request_id = %s AND outcome = 'settled'", speech.request_id
        )

    (entry,) = until(entries, "the journal to have the settlement")
    assert entry["actual_micro_usd"] == speech.actual_micro_usd
    assert video.cost_micro_usd == speech.actual_micro_usd


def test_it_is_found_again_with_its_moment(client: Client, video: ShareView) -> None:
    found = client.search("what can you do for your country", limit=50)  # others share it, too
    assert found.mode == "hybrid"
    hit = next(h for h in found.hits if h.share_id == video.share_id)
    assert hit.start_ms is not None
    assert "country" in hit.text


def test_a_text_is_summarised_and_found(client: Client) -> None:
    accepted = client.add(ShareRequest(text=ARTICLE.read_text(), title="Millrace", content_type="article"))
    view = client.wait(accepted.share_id, within_s=WITHIN_S)
    assert view.state == "done"
    assert {s.stage for s in view.stages} == {"summarize", "embed"}
    assert view.summary is not None
    assert view.summary.backend == "extractive"
    assert 20 < len(view.summary.summary) < len(ARTICLE.read_text())
    hits = client.search("who opened the gate at night", limit=3).hits
    assert view.share_id in [h.share_id for h in hits]


def test_a_copy_is_found_and_the_week_has_a_topic(client: Client) -> None:
    text = ARTICLE.read_text()
    one, other = (
        client.wait(client.add(ShareRequest(text=words, title="A mill")).share_id, within_s=WITHIN_S).share_id
        for words in (f"{text}\nThat was all.", f"{text.upper()}\nAnd that is all there is to say.")
    )
    until(lambda: client.share(one).quality and client.share(other).quality, "both texts to be looked at", 20)
    (duplicate,) = [found for found in client.duplicates(one).duplicates if found.share_id == other]
    assert duplicate.jaccard is not None
    assert duplicate.jaccard > 0.8
    assert client.share(other).text_language == "en"
    topics = [{share.share_id for share in topic.shares} for topic in client.digest(limit=100).topics]
    assert any(one in topic for topic in topics), "there are others about the same"


def test_the_same_words_again_cost_nothing(client: Client, video: ShareView, tmp_path: Path) -> None:
    again = client.upload(make_video(tmp_path), ShareRequest(title=video.title))
    view = client.wait(again.share_id, within_s=WITHIN_S)
    assert view.state == "done"
    assert view.cost_micro_usd == 0
    assert all(r.reused for r in view.receipts)


def test_under_another_title_only_what_it_is_about_is_embedded(
    running: Running, client: Client, video: ShareView, tmp_path: Path
) -> None:
    again = client.upload(make_video(tmp_path), ShareRequest(title="Ask not"))
    view = client.wait(again.share_id, within_s=WITHIN_S)
    assert view.state == "done"
    assert {r.stage for r in view.receipts if not r.reused} == {"embed"}
    sql = """
        SELECT answer -> 'hashes' AS hashes, text FROM calls JOIN chunks USING (work_key)
         WHERE share_id = %s AND embedding_type = 'summary'
    """
    (call,) = running.sql(sql, view.share_id)
    assert len(cast("list[str]", call["hashes"])) == 1
    assert str(call["text"]).startswith("Ask not\n\n")
    assert view.embedding is not None
    assert view.embedding.types == ["content", "summary", "composite"]


def test_money_that_is_not_there_is_not_spent(running: Running, client: Client, tmp_path: Path) -> None:
    speech = repeated_speech(tmp_path, 3)
    accepted = client.upload(speech, ShareRequest(account="poor"))
    view = client.wait(accepted.share_id, within_s=WITHIN_S)
    assert view.state == "parked"
    parked = next(s for s in view.stages if s.stage == "transcribe")
    assert parked.cap == "hour:transcribe"
    assert parked.left_micro_usd == 100
    assert (parked.needed_micro_usd or 0) > 100
    assert parked.resume_at is None
    assert "never under this cap" in (parked.reason or "")
    (call,) = running.sql("SELECT * FROM calls WHERE share_id = %s", accepted.share_id)
    assert call["state"] == "denied"
    assert call["called_at"] is None


def test_a_spent_hour_says_when_there_will_be_room(running: Running, client: Client, tmp_path: Path) -> None:
    """A cap that holds the first speech and not a second one: parked until the next hour."""
    first = client.upload(repeated_speech(tmp_path, 1, "a.wav"), ShareRequest(account="spent"))
    assert client.wait(first.share_id, within_s=WITHIN_S).state == "done"
    second = client.upload(repeated_speech(tmp_path, 2, "b.wav"), ShareRequest(account="spent"))
    view = client.wait(second.share_id, within_s=WITHIN_S)
    parked = next(s for s in view.stages if s.state == "parked")
    assert parked.resume_at is not None
    assert (parked.resume_at.minute, parked.resume_at.second) == (0, 0)
    assert "there will be room at" in (parked.reason or "")


def test_silence_buys_nothing(running: Running, client: Client, tmp_path: Path) -> None:
    accepted = client.upload(silent_video(tmp_path), ShareRequest())
    view = client.wait(accepted.share_id, within_s=WITHIN_S)
    assert stage(view, "transcribe") == "skipped"
    assert view.transcript is not None
    assert view.transcript.skipped_reason == "silent"
    assert view.transcript.text == ""
    assert running.sql("SELECT 1 FROM calls WHERE share_id = %s", accepted.share_id) == []


def test_everything_together_stays_within_its_memory(running: Running, video: ShareView) -> None:
    """Resident memory after work was done, models of speech included; the figure is what operators plan with."""
    parent = psutil.Process(running.process.pid)

    def megabytes() -> dict[str, int]:
        found = {}
        for one in (parent, *parent.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # PostgreSQL's own come and go
                found[f"{one.pid} {' '.join(one.cmdline()[-3:])[-60:]}"] = round(one.memory_info().rss / 1e6)
        return found

    # Children give back what they took as soon as they are asked nothing for a second.
    with suppress(TimeoutError):
        until(lambda: sum(megabytes().values()) < MOST_MEGABYTES, "memory to be given back", 10)
    assert sum((used := megabytes()).values()) < MOST_MEGABYTES, used
