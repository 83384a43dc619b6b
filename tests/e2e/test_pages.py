"""Shared pages of the web, all the way to search."""

from __future__ import annotations

import pytest

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest
from tests.e2e.harness import Running, stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_the_video_of_a_page_is_transcribed(client: Client, pages: str) -> None:
    accepted = client.add(ShareRequest(url=f"http://{pages}/talk.html"))
    view = client.wait(accepted.share_id, within_s=120)
    assert view.state == "done", view.stages
    assert view.transcript is not None
    assert "ask not what your country can do for you" in view.transcript.text.lower()


def test_a_page_without_a_video_is_found_by_its_caption(client: Client, running: Running, pages: str) -> None:
    accepted = client.add(ShareRequest(url=f"http://{pages}/notes.html"))
    view = client.wait(accepted.share_id, within_s=120)
    assert view.state == "done", view.stages
    assert (stage(view, "media"), stage(view, "transcribe")) == ("skipped", "done")
    assert view.transcript is not None
    assert (view.transcript.backend, view.transcript.billed_ms) == ("caption", 0)
    assert view.summary is not None
    assert view.summary.summary
    assert {receipt.stage for receipt in view.receipts} == {"summarize", "embed"}, "nobody listened"
    found = client.search("who repairs the water wheel in winter", limit=50)
    assert view.share_id in {hit.share_id for hit in found.hits}
    assert running.sql("SELECT 1 FROM extractions WHERE info::text LIKE %s", "%notes.html%") == []
