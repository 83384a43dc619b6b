"""Every consumer group read its topics once more from the beginning: nothing is paid, nothing is said twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka import Producer

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest
from millrace.testing.media import ARTICLE, JFK_WAV
from services.cost_ledger.topics import DAILY, HOURLY, changelog
from tests.e2e.apart import Apart, Place, apart
from tests.e2e.harness import stage
from tests.e2e.media import silent_video
from tests.support.provider import LARGE, Provider, serve_provider
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]

BUDGETS: Final = """
[default.summarize]
hour = "10.00"
day = "10.00"

[accounts.poor.summarize]
hour = "0.000001"
day = "0.000001"
"""
STAGES: Final = ("media", "transcribe", "summarize", "embed")
GROUPS: Final = {
    *(f"millrace-{name}-agent" for name in STAGES),
    "millrace-cost-ledger",
    "millrace-cost-ledger-admission",
}
COMPACTED: Final = {"cost.rows", "cost.spend", *(changelog("millrace-cost-ledger", name) for name in (HOURLY, DAILY))}
"""The ledger's topics of rows: a new owner writes a fence, and rows anew as they were; the audit reads them."""
SETTLED_AFTER_S: Final = 2.0
"""Longer than a commit and a look of the mover."""
# Everything that is kept of work, money and results. A job's time of change may be that of a look at it.
TABLES: Final = {
    "jobs": "SELECT * FROM jobs ORDER BY share_id, stage",
    "work": "SELECT * FROM work ORDER BY work_key",
    "calls": "SELECT * FROM calls ORDER BY request_id",
    "waiting": "SELECT share_id, stage, value FROM waiting ORDER BY share_id, stage",
    "chunks": "SELECT work_key, chunk_no, text, embedding::text "
    "FROM chunks JOIN embeddings USING (model, content_hash) ORDER BY work_key, chunk_no",
    "journal": "SELECT * FROM ledger_entries ORDER BY partition, request_offset",
    "alerts": "SELECT * FROM ledger_alerts ORDER BY seq",
    "outbox": "SELECT * FROM outbox ORDER BY seq",
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """Never takes a text with REFUSED in it, and one with BUSY only at the second time."""
    with serve_provider() as served:
        seen: set[bytes] = set()
        lock = threading.Lock()

        def status(raw: bytes) -> int:
            if b"REFUSED" in raw:
                return 400
            with lock:
                if b"BUSY" in raw and raw not in seen:
                    seen.add(raw)
                    return 503
            return 200

        served.status = status
        yield served


@pytest.fixture(scope="module")
def parts(provider: Provider) -> Iterator[Apart]:
    environment = provider.environment(embeds=True) | {"MILLRACE_TRANSCRIBE_PRICE_PER_SECOND": "0.0001"}
    with apart(environment, {"MILLRACE_PRICES": LARGE, "MILLRACE_BUDGETS": BUDGETS}) as made:
        yield made


def everything(parts: Apart) -> dict[str, list[dict[str, object]]]:
    return {name: parts.sql(query) for name, query in TABLES.items()}


def committed(parts: Apart) -> dict[str, dict[Place, int]]:
    return {group: parts.committed(group) for group in parts.groups()}


def at_rest(parts: Apart) -> tuple[dict[Place, int], dict[str, dict[Place, int]]]:
    """Where topics end and groups are, once neither has changed for a while."""
    last, since = (parts.ends(), committed(parts)), time.monotonic()

    def rests() -> bool:
        nonlocal last, since
        now = parts.ends(), committed(parts)
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > SETTLED_AFTER_S

    until(rests, "everything to come to rest", 60)
    return last


def share_all_kinds(parts: Apart, folder: Path) -> dict[str, str]:
    """One share of each kind of end, and their ids; returns when all have come to it."""
    text = ARTICLE.read_text()
    with Client(parts.gateway) as client:
        shares = {
            "talk": client.upload(JFK_WAV, ShareRequest()),
            "silence": client.upload(silent_video(folder), ShareRequest()),
            "article": client.add(ShareRequest(text=text)),
            "again": client.add(ShareRequest(text=text)),
            "short": client.add(ShareRequest(text="hey")),
            "refused": client.add(ShareRequest(text=f"REFUSED. {text}")),
            "busy": client.add(ShareRequest(text=f"BUSY. {text}")),
            "poor": client.add(ShareRequest(text=f"Another one. {text}", account="poor")),
        }
        for accepted in shares.values():
            client.wait(accepted.share_id, within_s=120)
        views = {name: client.share(accepted.share_id) for name, accepted in shares.items()}
    assert {name: stage(view, "summarize") for name, view in views.items()} == {
        "talk": "done",
        "silence": "skipped",
        "article": "done",
        "again": "done",
        "short": "skipped",
        "refused": "failed",
        "busy": "done",
        "poor": "parked",
    }
    return {name: accepted.share_id for name, accepted in shares.items()}


def wake(parts: Apart, share: str) -> None:
    """Let parked work ask once more; it is refused again."""
    (asked,) = parts.sql("SELECT value FROM waiting WHERE share_id = %s AND stage = 'summarize'", share)
    parts.sql("UPDATE waiting SET due = now() WHERE share_id = %s RETURNING 1", share)
    until(
        lambda: parts.sql("SELECT 1 FROM waiting WHERE share_id = %s AND value <> %s", share, asked["value"]),
        "parked work to be refused again",
    )


def ask_again(parts: Apart, shares: dict[str, str]) -> None:
    """Let stages work again: with another model, anew, and without any need."""
    for words in (
        ("summarize", "--share", shares["talk"], "--model", "stand-in-large"),
        ("embed", "--share", shares["article"], "--force"),
        ("transcribe",),
    ):
        done = parts.millrace_json("replay", *words)
        until(lambda done=done: answered(parts, done), f"{done['replay_id']} to be worked on")  # type: ignore[misc]


def answered(parts: Apart, replay: dict[str, object]) -> bool:
    sql = "SELECT 1 FROM jobs JOIN replays USING (asked_at) WHERE replay_id = %s AND jobs.published"
    return len(parts.sql(sql, replay["replay_id"])) == replay["published"]


def caught_up(now: dict[str, dict[Place, int]], before: dict[str, dict[Place, int]]) -> bool:
    return all(
        now.get(group, {}).get(place, 0) >= offset
        for group, places in before.items()
        for place, offset in places.items()
    )


def test_reading_everything_again_pays_nothing_and_changes_nothing(
    parts: Apart, provider: Provider, tmp_path: Path
) -> None:
    parts.start()
    shares = share_all_kinds(parts, tmp_path)
    wake(parts, shares["poor"])
    ask_again(parts, shares)
    broken = Producer({"bootstrap.servers": parts.addresses.kafka})
    broken.produce("share.created", b"not a message", b"nobody")
    assert broken.flush(10) == 0
    ends, groups = at_rest(parts)
    assert set(groups) == GROUPS, "a group that nobody has thought of"
    assert sum(ends["summarize.dead", p] for p in range(4)) == 2, "the refused text and the broken message"
    assert sum(ends["summarize.requested", p] for p in range(4)) >= 3, "the busy text, the poor one, and a replay"
    before, requests = everything(parts), provider.requests
    assert any(row["settled_change"] for row in before["journal"])

    parts.stop()
    for group, places in groups.items():
        parts.reset(group, places)
        assert set(parts.committed(group).values()) <= {0}
    parts.start()
    until(lambda: caught_up(committed(parts), groups), "everything to be read again", 120)
    now, _ = at_rest(parts)
    assert provider.requests == requests
    after = everything(parts)
    for table, rows in before.items():
        assert after[table] == rows, table
    assert parts.millrace_json("budget", "audit")["ok"], "rows, tables, topic and journal are what the log says"
    grown = Counter[str]()
    for (topic, partition), end in now.items():
        grown[topic] += end - ends[topic, partition]
    said_again = {topic: count for topic, count in grown.items() if count and topic not in COMPACTED}
    # A message that cannot be read becomes a dead letter again: nothing is known of it but its bytes.
    assert said_again == {"media.dead": 1, "summarize.dead": 1, "embed.dead": 1}
