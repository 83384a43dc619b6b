"""Services with their media in S3: it goes there, is read from there, and is fetched again once it has expired."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest, ShareView
from millrace.settings import StorageSettings
from millrace.store.blobs.opening import open_s3
from millrace.testing.media import JFK_WAV
from tests.e2e.apart import Apart, apart
from tests.e2e.media import repeated_speech
from tests.support.s3 import ACCESS_KEY, SECRET_KEY, S3Server, s3mock
from tests.support.waiting import until
from tests.support.web import QuietHandler, served

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
SERVICES = ("cost_ledger", "media_agent", "transcribe_agent", "api_gateway")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3mock(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site with two recordings; the second one is the speech twice over."""
    contents = {
        "/once.wav": JFK_WAV.read_bytes(),
        "/twice.wav": repeated_speech(tmp_path_factory.mktemp("site"), 2).read_bytes(),
    }

    class Recordings(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
            self.answer(200, "audio/wav", contents[self.path])

    with served(Recordings) as address:
        yield address


@pytest.fixture(scope="module")
def settings(server: S3Server) -> StorageSettings:
    return server.settings("media-of-tests")


@pytest.fixture(scope="module")
def parts(server: S3Server, settings: StorageSettings, address: str) -> Iterator[Apart]:
    environment = {
        "MILLRACE_STORAGE_MODE": "s3",
        "MILLRACE_S3_BUCKET": "media-of-tests",
        "MILLRACE_S3_ENDPOINT": server.url,
        "MILLRACE_S3_ACCESS_KEY_ID": ACCESS_KEY,
        "MILLRACE_S3_SECRET_ACCESS_KEY": SECRET_KEY,
        "MILLRACE_S3_PATH_STYLE": "true",
        "MILLRACE_S3_WAIT_S": "0",  # what was deleted a moment ago is not on its way
        "MILLRACE_FETCH_ALLOW": address,
        "OPENAI_API_KEY": "",
    }
    with apart(environment, {}) as made:
        assert made.millrace_json("storage", "setup")["ok"]
        made.start(SERVICES)
        yield made


def objects(settings: StorageSettings) -> list[str]:
    async def listed() -> list[str]:
        async with open_s3(settings) as s3:
            found = await s3.client.list_objects_v2(Bucket=s3.bucket)
            return sorted(one["Key"] for one in found.get("Contents", []))

    return asyncio.run(listed())


def expire(settings: StorageSettings, key: str) -> None:
    async def delete() -> None:
        async with open_s3(settings) as s3:
            await s3.delete(key)

    asyncio.run(delete())


def comes_to(parts: Apart, share_id: str, stage: str, state: str) -> None:
    sql = "SELECT 1 FROM jobs WHERE share_id = %s AND stage = %s AND state = %s"
    until(lambda: parts.sql(sql, share_id, stage, state), f"{stage} to be {state}", 120)


def blob_key(parts: Apart, share_id: str) -> str:
    found = parts.sql(
        "SELECT work.result->>'blob_key' AS key FROM jobs JOIN work USING (work_key) "
        "WHERE jobs.share_id = %s AND jobs.stage = 'media'",
        share_id,
    )
    return str(found[0]["key"]) if found else ""


def seen(parts: Apart, share_id: str) -> ShareView:
    with Client(parts.gateway) as client:
        return client.share(share_id)


def text_of(parts: Apart, share_id: str) -> str:
    transcript = seen(parts, share_id).transcript
    assert transcript is not None
    return transcript.text


def test_uploads_and_fetched_media_go_to_s3_and_are_transcribed_from_there(
    parts: Apart, settings: StorageSettings, address: str
) -> None:
    with Client(parts.gateway) as client:
        shares = [
            client.add(ShareRequest(url=f"http://{address}/once.wav")).share_id,
            client.upload(JFK_WAV, ShareRequest()).share_id,
        ]
    for share in shares:
        comes_to(parts, share, "transcribe", "done")
        assert "country" in text_of(parts, share)
    fetched, upload = blob_key(parts, shares[0]), blob_key(parts, shares[1])
    assert fetched.startswith("temp/videos/")
    assert upload.startswith("uploads/")
    assert objects(settings) == sorted((fetched, upload))
    assert not [path for path in (Path(parts.folder) / "blobs").rglob("*") if path.is_file()], "nothing lies here"


def test_media_that_has_expired_is_fetched_again_by_a_forced_replay(
    parts: Apart, settings: StorageSettings, address: str
) -> None:
    agent = parts.workers.pop("transcribe_agent")
    agent.end()
    with Client(parts.gateway) as client:
        share = client.add(ShareRequest(url=f"http://{address}/twice.wav")).share_id
    comes_to(parts, share, "media", "done")
    first = blob_key(parts, share)
    expire(settings, first)
    parts.start(("transcribe_agent",))
    comes_to(parts, share, "transcribe", "failed")
    reason = next(stage.reason for stage in seen(parts, share).stages if stage.stage == "transcribe") or ""
    fetch, go_on = f"replay media --share {share} --force", f"replay transcribe --share {share}"
    assert "has expired" in reason
    assert f"`millrace {fetch}`" in reason
    assert f"`millrace {go_on}`" in reason
    assert parts.millrace_json(*fetch.split())["published"] == 1
    until(lambda: blob_key(parts, share) not in (first, "", "None"), "the media to be fetched again", 60)
    comes_to(parts, share, "media", "done")
    assert parts.millrace_json(*go_on.split())["published"] == 1
    comes_to(parts, share, "transcribe", "done")
    again = blob_key(parts, share)
    assert again in objects(settings)
    assert text_of(parts, share).count("country") >= 4
