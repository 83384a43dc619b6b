"""GET /shares/{id}/transcript against the real PostgreSQL and media store."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pysubs2
import pytest

from millrace.contracts.api import Problem
from millrace.contracts.events import Segment
from millrace.contracts.transcript_api import TranscriptDocument
from millrace.store.transcripts import INLINE_LIMIT, keep_large
from tests.integration.gateway import Gateway, finish_job

SEGMENTS = [
    Segment(start_ms=300, end_ms=2100, text="Ask not <b>what</b>"),
    Segment(start_ms=3_700_000, end_ms=3_702_000, text="you & yours"),
]


async def share(gateway: Gateway, title: str | None = "Z\u00fcrich: a talk") -> str:
    body = {"url": "https://example.org/speech.mp3"} | ({} if title is None else {"title": title})
    response = await gateway.http.post("/shares", json=body)
    return str(response.json()["share_id"])


async def transcribed(gateway: Gateway, share_id: str, **fields: object) -> None:
    """What the transcribe agent leaves behind."""
    result = {
        "text": "Ask not what you & yours",
        "segments": [segment.model_dump() for segment in SEGMENTS],
        "language": "en",
        "duration_ms": 3_800_000,
        "billed_ms": 9_000,
        "backend": "local",
        "model": "tiny.en",
        "segments_ref": None,
        "skipped_reason": None,
    } | fields
    work_key = f"transcribe:{uuid.uuid4().hex}"
    async with gateway.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO work (work_key, stage, result, finished_at) VALUES ($1, 'transcribe', $2, now())",
            work_key,
            result,
        )
        await finish_job(connection, share_id, "transcribe", work_key)
        await connection.execute(
            "UPDATE jobs SET cost_micro_usd = 70 WHERE share_id = $1 AND stage = 'transcribe'", share_id
        )


async def put(gateway: Gateway, share_id: str, stage: str, state: str, reason: str | None = None) -> None:
    sql = "UPDATE jobs SET state = $3, reason = $4 WHERE share_id = $1 AND stage = $2"
    await gateway.pool.execute(sql, share_id, stage, state, reason)


async def refused(gateway: Gateway, share_id: str, status: int, kind: str = "srt") -> str:
    response = await gateway.http.get(f"/shares/{share_id}/transcript", params={"format": kind})
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return Problem.model_validate_json(response.content).detail


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("json", "application/json"),
        ("srt", "application/x-subrip"),
        ("vtt", "text/vtt; charset=utf-8"),
        ("txt", "text/plain; charset=utf-8"),
    ],
)
async def test_a_transcript_is_a_file_of_each_format(gateway: Gateway, kind: str, media_type: str) -> None:
    share_id = await share(gateway)
    await transcribed(gateway, share_id)
    asked = await gateway.http.get(f"/shares/{share_id}/transcript", params={"format": kind})
    liked = await gateway.http.get(f"/shares/{share_id}/transcript", headers={"accept": media_type})
    assert asked.status_code == liked.status_code == 200
    assert asked.headers["content-type"] == liked.headers["content-type"] == media_type
    assert asked.content == liked.content
    assert asked.headers["content-disposition"] == (
        f"attachment; filename=\"Zurich a talk.{kind}\"; filename*=UTF-8''Z%C3%BCrich%20a%20talk.{kind}"
    )
    assert asked.headers["x-content-type-options"] == "nosniff"
    text = asked.content.decode()
    if kind == "json":
        document = TranscriptDocument.model_validate_json(text)
        assert (document.language, document.duration, document.segments[1].start) == ("en", 3800.0, 3700.0)
        assert (document.billing.seconds, document.billing.cost_micro_usd) == (9.0, 70)
    elif kind == "txt":
        assert text == "Ask not <b>what</b>\n\nyou & yours\n"
    else:
        found = pysubs2.SSAFile.from_string(text, format_=kind)
        assert [(event.start, event.end) for event in found] == [(300, 2100), (3_700_000, 3_702_000)]
        assert text.startswith("WEBVTT\n\n") == (kind == "vtt")
        assert "<b>" not in text
        assert re.search(r"01:01:40[.,]000 --> ", text)


async def test_a_long_transcript_is_read_from_the_media_store(gateway: Gateway) -> None:
    share_id, count = await share(gateway, None), 6000
    segments = [
        Segment(start_ms=at * 2000, end_ms=at * 2000 + 1900, text=f"Sentence number {at} {'of many ' * 8}end.")
        for at in range(count)
    ]
    key = await keep_large(gateway.parts.blobs, segments)
    assert key is not None, f"more than {INLINE_LIMIT} bytes"
    await transcribed(gateway, share_id, segments=[], segments_ref=key)
    response = await gateway.http.get(f"/shares/{share_id}/transcript?format=vtt")
    blocks = response.text.removesuffix("\n\n").split("\n\n")[1:]
    words = [word for block in blocks for line in block.split("\n")[2:] for word in line.split()]
    assert words == [word for segment in segments for word in segment.text.split()]
    assert 'filename="transcript.vtt"' in response.headers["content-disposition"]


async def test_times_that_are_gone_are_said_and_the_text_is_still_there(gateway: Gateway, tmp_path: Path) -> None:
    share_id = await share(gateway)
    segments = [Segment(start_ms=0, end_ms=9, text="x" * INLINE_LIMIT)]
    key = await keep_large(gateway.parts.blobs, segments)
    await transcribed(gateway, share_id, segments=[], segments_ref=key, text="Ask not")
    (tmp_path / str(key)).unlink()
    for kind in ("srt", "vtt"):
        assert "times of this transcript are gone" in await refused(gateway, share_id, 404, kind)
    assert (await gateway.http.get(f"/shares/{share_id}/transcript?format=txt")).text == "Ask not\n"
    document = (await gateway.http.get(f"/shares/{share_id}/transcript")).json()
    assert (document["text"], document["segments"]) == ("Ask not", [])
    assert "media store" in document["note"]


async def test_a_media_store_that_is_away_is_a_503_and_no_transcript_that_is_gone(
    gateway: Gateway, tmp_path: Path
) -> None:
    share_id = await share(gateway)
    key = await keep_large(gateway.parts.blobs, [Segment(start_ms=0, end_ms=9, text="x" * INLINE_LIMIT)])
    await transcribed(gateway, share_id, segments=[], segments_ref=key)
    (tmp_path / ".incoming").rmdir()  # as if another disk were mounted there
    (tmp_path / str(key)).unlink()
    assert "media store is not there" in await refused(gateway, share_id, 503)


async def test_what_is_not_ready_says_where_it_stands(gateway: Gateway) -> None:
    share_id = await share(gateway)
    assert await refused(gateway, share_id, 409) == "The transcript is not ready: transcribe is queued."
    await put(gateway, share_id, "transcribe", "parked", "needs $0.01.")
    assert await refused(gateway, share_id, 409) == (
        "The transcript is not ready: transcribe is parked (needs $0.01)."
    )


async def test_what_has_no_transcript_says_why(gateway: Gateway) -> None:
    share_id = await share(gateway)
    await transcribed(gateway, share_id, text="", segments=[], skipped_reason="silent")
    await put(gateway, share_id, "transcribe", "skipped", "silent")
    assert await refused(gateway, share_id, 404) == ("This share has no transcript: transcribe is skipped (silent).")
    await put(gateway, share_id, "transcribe", "failed", "the sound cannot be decoded.")
    assert await refused(gateway, share_id, 404) == (
        "This share has no transcript: transcribe is failed (the sound cannot be decoded)."
    )
    await put(gateway, share_id, "media", "failed", "This is no media.")
    await put(gateway, share_id, "transcribe", "queued")
    assert await refused(gateway, share_id, 404) == (
        "This share has no transcript: transcribe is queued (needs media, which failed)."
    )
    text = (await gateway.http.post("/shares", json={"text": "Some words."})).json()["share_id"]
    assert "it is a text" in await refused(gateway, text, 404)


async def test_a_transcript_of_somebody_else_does_not_exist(gateway: Gateway) -> None:
    share_id = await share(gateway)
    await transcribed(gateway, share_id)
    await gateway.pool.execute("UPDATE shares SET owner = 'somebody' WHERE share_id = $1", share_id)
    for unknown in (share_id, "unknown", "a%00b"):
        assert await refused(gateway, unknown, 404) == "There is no share with this id."


async def test_a_format_that_there_is_not_is_a_sentence(gateway: Gateway) -> None:
    assert "format" in await refused(gateway, await share(gateway), 422, "docx")


async def test_the_documentation_names_every_format(gateway: Gateway) -> None:
    described = (await gateway.http.get("/openapi.json")).json()["paths"]["/shares/{share_id}/transcript"]["get"]
    assert set(described["responses"]["200"]["content"]) == {
        "application/json",
        "application/x-subrip",
        "text/vtt; charset=utf-8",
        "text/plain; charset=utf-8",
    }
    assert "TranscriptDocument" in str(described["responses"]["200"]["content"]["application/json"])
