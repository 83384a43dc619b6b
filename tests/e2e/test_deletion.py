"""Shares are deleted, one while the model listens to it: nothing of them is left but what they have cost."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest

from millrace.cli.client import ApiError, Client
from millrace.contracts.share_api import ShareRequest
from tests.e2e.harness import Running
from tests.e2e.media import repeated_speech
from tests.support.traces import traces_at
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
AGENTS = ("media_agent", "transcribe_agent", "summarize_agent", "embed_agent")


def command(running: Running, *words: str) -> subprocess.CompletedProcess[str]:
    places = {f"MILLRACE_{name.upper()}": running.addresses[name] for name in ("kafka", "registry", "postgres")}
    gateway = {"MILLRACE_GATEWAY": running.addresses["gateway"], "MILLRACE_TOKEN": running.addresses["token"]}
    return subprocess.run(
        (sys.executable, "-m", "millrace.cli.main", *words),
        env=os.environ | places | gateway,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def left(running: Running, share_ids: list[str]) -> list[dict[str, object]]:
    """Results and answers that were made for these shares."""
    return running.sql(
        "SELECT work_key FROM calls LEFT JOIN work USING (work_key) WHERE share_id = ANY(%s) "
        "AND (answer IS NOT NULL OR result IS NOT NULL OR checkpoint IS NOT NULL)",
        share_ids,
    )


def files(running: Running) -> set[Path]:
    """Of the media store, but those that are lent or come in."""
    folder = running.ready_file.parent / "data" / "blobs"
    return {file for name in ("uploads", "transcripts") for file in (folder / name).rglob("*") if file.is_file()}


def test_nothing_is_left_of_deleted_shares_but_what_they_have_cost(
    running: Running, client: Client, tmp_path: Path
) -> None:
    canary = f"canary{uuid.uuid4().hex}"
    before, pids = files(running), [running.part(name).pid for name in AGENTS]
    text = client.add(ShareRequest(text=f"The {canary} sings in the mill. " * 20, title=canary)).share_id
    assert client.wait(text, within_s=120).state == "done"
    assert [hit.share_id for hit in client.search(canary).hits][:1] == [text]
    speech = repeated_speech(tmp_path, times=97, name=f"{canary}.wav")
    share_id = client.upload(speech, ShareRequest(title=canary, description=canary)).share_id
    until(lambda: (client.share(share_id).stages[1].progress or 0) > 0.1, "the model to have heard something", 120)
    assert len(files(running) - before) == 1
    assert left(running, [text, share_id])

    for one in (share_id, text):
        ended = command(running, "share", "delete", one, "--yes", "--json")
        assert (ended.returncode, json.loads(ended.stdout)) == (0, {"share_id": one, "deleted": True}), ended.stderr
    for one in (share_id, text):
        with pytest.raises(ApiError, match="no share"):
            client.share(one)
    # Other shares of this stack may be found by meaning.
    assert not {hit.share_id for hit in client.search(canary).hits} & {text, share_id}
    assert not client.search(canary, mode="keyword").hits
    postgres = running.addresses["postgres"]
    until(lambda: not left(running, [text, share_id]), "the work to be erased", 60)
    until(lambda: not (files(running) - before), "the upload to be removed", 60)
    until(lambda: not asyncio.run(traces_at(postgres, canary)), "the last of it to be gone", 60)
    open_calls = (
        "SELECT FROM calls WHERE share_id = ANY(%s) AND (state IN ('reserving', 'calling') OR NOT told_ledger)"
    )
    until(lambda: not running.sql(open_calls, [text, share_id]), "the ledger to know of every call", 60)

    ended = command(running, "budget", "audit", "--json")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert json.loads(ended.stdout)["difference_count"] == 0
    (spent,) = running.sql("SELECT sum(settled_change) AS settled FROM ledger_entries WHERE share_id = %s", share_id)
    assert int(str(spent["settled"])) > 0, "what was heard of it before"

    again = client.add(ShareRequest(text=f"The {canary} sings in the mill. " * 20)).share_id
    assert client.wait(again, within_s=120).state == "done", "the same may be shared again"
    assert [hit.share_id for hit in client.search(canary).hits][:1] == [again]
    assert [running.part(name).pid for name in AGENTS] == pids, "no agent has stumbled over a tombstone"
    letters = "SELECT * FROM dead_letters WHERE share_id = ANY(%s)"
    assert running.sql(letters, [text, share_id]) == []
    client.delete(again)


def test_a_replay_does_not_bring_it_back(running: Running, client: Client) -> None:
    share_id = client.add(ShareRequest(text=f"Replayed in vain {uuid.uuid4()}.")).share_id
    assert client.wait(share_id, within_s=120).state == "done"
    client.delete(share_id)
    ended = command(running, "replay", "summarize", "--share", share_id, "--force")
    assert ended.returncode == 0, ended.stderr
    other = client.add(ShareRequest(text=f"Another one {uuid.uuid4()}.")).share_id
    assert client.wait(other, within_s=120).state == "done"
    assert running.sql("SELECT FROM jobs WHERE share_id = %s", share_id) == []
    assert httpx.get(running.addresses["gateway"] + f"/shares/{share_id}", headers=signed(running)).status_code == 404
    client.delete(other)


def signed(running: Running) -> dict[str, str]:
    return {"authorization": f"Bearer {running.addresses['token']}"}
