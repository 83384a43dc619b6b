"""GET /shares/{id}/media against a real server's parts: ranges, types, what is gone."""

from __future__ import annotations

import uuid
from pathlib import Path

import httpx
import pytest

from millrace.contracts.api import Problem
from tests.integration.gateway import Gateway, finish_job


async def uploaded(gateway: Gateway, content: bytes, name: str = "Ein Gespräch.mp3", kind: str = "audio/mpeg") -> str:
    answer = await gateway.http.post("/shares", files={"file": (name, content, kind)})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["share_id"])


async def fetched(gateway: Gateway, blob_key: str) -> str:
    """A share of a URL of which the media stage is done."""
    share_id = str((await gateway.http.post("/shares", json={"url": "https://example.org/a"})).json()["share_id"])
    work_key = f"media:{uuid.uuid4().hex}"
    async with gateway.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO work (work_key, stage, result, finished_at) VALUES ($1, 'media', $2, now())",
            work_key,
            {"blob_key": blob_key},
        )
        await finish_job(connection, share_id, "media", work_key)
    return share_id


def sentence(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return Problem.model_validate(response.json()).detail


async def test_media_is_played_whole_and_by_ranges(gateway: Gateway, tmp_path: Path) -> None:
    content = uuid.uuid4().bytes * 20_000
    path = f"/shares/{await uploaded(gateway, content)}/media"
    assert (await gateway.http.get(path, headers={"range": "bytes=0-9"})).content == content[:10]
    assert not (tmp_path / ".lent").exists(), "a range needs no copy of the rest"
    whole = await gateway.http.get(path)
    assert (whole.status_code, whole.content) == (200, content)
    assert whole.headers["content-type"] == "audio/mpeg"
    assert "content-encoding" not in whole.headers
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"].startswith("inline; ")
    for asked, start, stop in (
        ("0-0", 0, 1),
        ("100-299", 100, 300),
        ("-5", 319_995, 320_000),
        ("319999-", 319_999, 320_000),
    ):
        part = await gateway.http.get(path, headers={"range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, content[start:stop]), asked
        assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/320000"
    assert list((tmp_path / ".lent").iterdir()) == [], "nothing stays lent"


async def test_ranges_hold_for_the_same_content_only(gateway: Gateway) -> None:
    content = uuid.uuid4().bytes * 10
    path = f"/shares/{await uploaded(gateway, content)}/media"
    etag = (await gateway.http.get(path)).headers["etag"]
    same = await gateway.http.get(path, headers={"range": "bytes=0-3", "if-range": etag})
    other = await gateway.http.get(path, headers={"range": "bytes=0-3", "if-range": '"of-something-else"'})
    assert (same.status_code, same.content) == (206, content[:4])
    assert (other.status_code, other.content) == (200, content)


async def test_several_ranges_at_once_are_answered_together(gateway: Gateway) -> None:
    content = uuid.uuid4().bytes * 10
    path = f"/shares/{await uploaded(gateway, content)}/media"
    several = await gateway.http.get(path, headers={"range": "bytes=0-3,100-103"})
    assert several.status_code == 206
    assert several.headers["content-type"].startswith("multipart/byteranges")
    assert content[:4] in several.content
    assert content[100:104] in several.content


async def test_ranges_that_are_none_are_refused(gateway: Gateway) -> None:
    path = f"/shares/{await uploaded(gateway, uuid.uuid4().bytes)}/media"
    beyond = await gateway.http.get(path, headers={"range": "bytes=16-"})
    assert "shorter" in sentence(beyond, 416)
    assert beyond.headers["content-range"] == "bytes */16"
    assert "cannot be read" in sentence(await gateway.http.get(path, headers={"range": "lines=1-2"}), 400)


@pytest.mark.parametrize(
    ("name", "kind"), [("page.html", "text/html"), ("x.svg", "image/svg+xml"), ("x", "video/mp4")]
)
async def test_what_is_no_media_is_never_shown_as_a_page(gateway: Gateway, name: str, kind: str) -> None:
    content = b"<script>alert(1)</script>" + uuid.uuid4().bytes
    answer = await gateway.http.get(f"/shares/{await uploaded(gateway, content, name, kind)}/media")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; ")


async def test_fetched_media_is_there_until_it_expires(gateway: Gateway) -> None:
    key = f"temp/videos/2026/01/01/{'a' * 64}-1767571200.mp4"
    await gateway.parts.blobs.put_bytes(key, b"moving pictures")
    path = f"/shares/{await fetched(gateway, key)}/media"
    there = await gateway.http.get(path)
    assert (there.status_code, there.content) == (200, b"moving pictures")
    assert (there.headers["content-type"], there.headers["etag"]) == ("video/mp4", f'"{"a" * 64}"')
    await gateway.parts.blobs.delete(key)
    said = sentence(await gateway.http.get(path), 404)
    assert "has expired" in said
    assert "millrace replay media --share" in said


async def test_what_has_no_media_says_why(gateway: Gateway) -> None:
    text = (await gateway.http.post("/shares", json={"text": "Words."})).json()["share_id"]
    url = (await gateway.http.post("/shares", json={"url": "https://example.org/b"})).json()["share_id"]
    assert "it is a text" in sentence(await gateway.http.get(f"/shares/{text}/media"), 404)
    assert "media is queued" in sentence(await gateway.http.get(f"/shares/{url}/media"), 409)
    await gateway.pool.execute("UPDATE jobs SET state = 'failed', reason = 'Gone.' WHERE share_id = $1", url)
    assert "media is failed (Gone)" in sentence(await gateway.http.get(f"/shares/{url}/media"), 404)
    assert "no video" in sentence(await gateway.http.get(f"/shares/{await fetched(gateway, '')}/media"), 404)
    await gateway.pool.execute("UPDATE shares SET owner = 'a-stranger' WHERE share_id = $1", url)
    for share_id in ("none", "a%00b", url):
        sentence(await gateway.http.get(f"/shares/{share_id}/media"), 404)
