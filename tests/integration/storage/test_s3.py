"""What is S3's own: metadata, encryption, signed URLs, parts, downloads that break off, and who may not."""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from botocore.exceptions import ClientError

from millrace.errors import ConfigurationError, Unavailable
from millrace.settings import StorageSettings
from millrace.store.blobs import About, BlobMissing, ByteRange, Part, Progress
from millrace.store.blobs.opening import open_blobs, open_s3
from millrace.store.blobs.port import Refused
from millrace.store.blobs.s3 import S3BlobStore, open_client
from millrace.store.blobs.s3_download import download
from tests.integration.storage.conftest import PART, environment
from tests.support.cutting_proxy import CuttingProxy, cutting
from tests.support.process import begin
from tests.support.s3 import SECRET_KEY, S3Server
from tests.support.waiting import until

KEY = "temp/videos/2026/11/27/clip.mp4"
TITLE = 'Größe \N{PARTY POPPER}\nsecond line = "quoted", 100% =?utf-8?q?x?= \ud83d  two blanks '
ONE_MINUTE = timedelta(minutes=1)
only_s3mock = pytest.mark.parametrize("server", ["s3mock"], indirect=True)
only_versitygw = pytest.mark.parametrize(
    "server", [pytest.param("versitygw", marks=pytest.mark.versitygw)], indirect=True
)


@asynccontextmanager
async def behind_proxy(
    server: S3Server, settings: StorageSettings, *, after: int = 1 << 30
) -> AsyncIterator[tuple[CuttingProxy, S3BlobStore]]:
    """A proxy, and the store as it is seen through it."""
    async with (
        cutting(server.url, after=after) as proxy,
        open_client(settings.model_copy(update={"s3_endpoint": proxy.url})) as client,
    ):
        yield proxy, S3BlobStore(client, settings.s3_bucket or "", part=PART)


async def signed(s3: S3BlobStore, key: str = KEY, expires: timedelta = ONE_MINUTE) -> str:
    url = await s3.presigned(key, expires)
    assert url is not None
    return url


async def get(url: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.get(url)


async def uploads_under_way(s3: S3BlobStore) -> int:
    return len((await s3.client.list_multipart_uploads(Bucket=s3.bucket)).get("Uploads", []))


async def keys_in(s3: S3BlobStore) -> list[str]:
    return [found["Key"] for found in (await s3.client.list_objects_v2(Bucket=s3.bucket)).get("Contents", [])]


async def test_any_title_comes_back_and_is_ascii_on_the_wire(s3: S3BlobStore, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(PART + 1))
    about = About({"title": TITLE, "format": "mp4"}, "video/mp4")
    await s3.put_bytes("temp/small", b"x", about)
    await s3.put_file("temp/large", large, about)
    for key in ("temp/small", "temp/large"):
        kept = await s3.kept(key)
        assert kept is not None
        assert kept.about == about
        headers = (await get(await signed(s3, key))).headers
        raw = headers["x-amz-meta-title"]
        assert raw.isascii()
        assert raw.isprintable()
        assert raw.startswith("Gr%C3%B6%C3%9Fe%20")
        assert headers["content-type"] == "video/mp4"


async def test_what_people_upload_is_never_shown_as_a_page(s3: S3BlobStore, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(PART + 1))
    await s3.put_bytes("uploads/ab/page.html", b"<script>", About({}, "text/html"))
    await s3.put_file("uploads/ab/clip.mp4", large)
    await s3.put_bytes(KEY, b"x")
    names = ("uploads/ab/page.html", "uploads/ab/clip.mp4", KEY)
    page, clip, media = [(await get(await signed(s3, name))).headers for name in names]
    assert page["content-type"] == "application/octet-stream"
    assert clip["content-type"] == "video/mp4"
    assert page["content-disposition"] == clip["content-disposition"] == "attachment"
    assert "content-disposition" not in media


async def test_metadata_of_any_length_is_taken(s3: S3BlobStore) -> None:
    await s3.put_bytes(KEY, b"x", About({"title": "\N{PARTY POPPER}" * 3000, "format": "mp4"}))
    kept = await s3.kept(KEY)
    assert kept is not None
    assert kept.about.metadata["format"] == "mp4"
    assert kept.about.metadata["title"].endswith("\N{PARTY POPPER}…")


async def test_encryption_is_asked_for_with_every_object_unless_the_settings_say_otherwise(
    server: S3Server, settings: StorageSettings, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(PART + 1))
    async with behind_proxy(server, settings) as (proxy, through):
        await through.put_file("temp/large", large)
        await through.put_bytes("temp/small", b"x")
        assert asked_for_encryption(proxy) == ["POST", "PUT"], "when it begins, and in one request"
        assert b"100-continue" not in proxy.asked, "aiohttp would wait for an answer to that without end"
        proxy.asked.clear()
        await S3BlobStore(through.client, through.bucket, encryption=None).put_bytes("temp/plain", b"x")
        assert asked_for_encryption(proxy) == []


def asked_for_encryption(proxy: CuttingProxy) -> list[str]:
    """Methods of the requests with the header."""
    heads = re.findall(rb"(PUT|POST) /\S+ HTTP/1.1\r\n(.*?)\r\n\r\n", bytes(proxy.asked), re.DOTALL)
    return [method.decode() for method, head in heads if b"x-amz-server-side-encryption: aes256" in head.lower()]


@only_s3mock
async def test_the_server_says_that_an_object_is_encrypted(s3: S3BlobStore) -> None:
    await s3.put_bytes("temp/small", b"x")
    assert (await get(await signed(s3, "temp/small"))).headers["x-amz-server-side-encryption"] == "AES256"


async def test_anybody_reads_with_a_signed_url(s3: S3BlobStore) -> None:
    await s3.put_bytes(KEY, b"for everybody")
    answer = await get(await signed(s3))
    assert (answer.status_code, answer.content) == (200, b"for everybody")


@only_versitygw
async def test_a_signed_url_that_was_changed_or_is_over_is_refused(s3: S3BlobStore) -> None:
    await s3.put_bytes(KEY, b"for some")
    await s3.put_bytes("temp/other", b"for nobody")
    url = await signed(s3)
    assert (await get(url)).status_code == 200

    def changed(**to: str) -> str:
        parts = urlsplit(url)
        return parts._replace(query=urlencode({**dict(parse_qsl(parts.query)), **to})).geturl()

    signature = dict(parse_qsl(urlsplit(url).query))["X-Amz-Signature"]
    forged = signature[:-1] + ("0" if signature[-1] != "0" else "1")
    for bad in (
        changed(**{"X-Amz-Signature": forged}),
        changed(**{"X-Amz-Expires": "3600"}),
        url.replace(KEY, "temp/other"),
        url.partition("?")[0],
    ):
        answer = await get(bad)
        assert answer.status_code == 403
        assert b"for some" not in answer.content
        assert b"for nobody" not in answer.content
    short = await signed(s3, expires=timedelta(seconds=1))
    await asyncio.sleep(2.1)  # the server's clock has to pass a whole second
    assert (await get(short)).status_code == 403


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(days=7, seconds=1)])
async def test_signatures_are_valid_for_a_second_to_a_week(s3: S3BlobStore, expires: timedelta) -> None:
    with pytest.raises(ValueError, match="seven days"):
        await s3.presigned(KEY, expires)


async def test_a_public_base_url_is_where_the_content_is(settings: StorageSettings, tmp_path: Path) -> None:
    public = settings.model_copy(update={"s3_public_base_url": "https://cdn.example.org/media/"})
    async with open_blobs(public, tmp_path) as store:
        await store.put_bytes(KEY, b"x")
        assert await store.url(KEY) == f"https://cdn.example.org/media/{KEY}"


def noted(told: list[tuple[int, int]]) -> Progress:
    async def note(done: int, of: int) -> None:
        told.append((done, of))

    return note


async def test_progress_is_told_part_by_part(s3: S3BlobStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(2 * PART + 7))
    size, up, down = 2 * PART + 7, list[tuple[int, int]](), list[tuple[int, int]]()
    await s3.put_file(KEY, file, progress=noted(up))
    assert up == [(PART, size), (2 * PART, size), (size, size)]
    async with s3.local_copy(KEY, noted(down)) as path:
        assert path.read_bytes() == file.read_bytes()
    assert down == sorted(down)
    assert down[-1] == (size, size)
    assert len(down) > 3


async def test_a_download_that_is_cut_off_goes_on_where_it_stopped(
    server: S3Server, settings: StorageSettings, s3: S3BlobStore
) -> None:
    content = os.urandom(8 << 20)
    await s3.put_bytes(KEY, content)
    async with behind_proxy(server, settings, after=3 << 20) as (proxy, through):
        proxy.cuts = 2
        told: list[tuple[int, int]] = []
        async with through.local_copy(KEY, noted(told)) as path:
            assert path.read_bytes() == content
        assert proxy.done == 2
        assert told == sorted(told), "nothing was fetched twice"


async def test_a_part_that_is_cut_off_goes_on_where_it_stopped_and_nothing_else_is_fetched(
    server: S3Server, settings: StorageSettings, s3: S3BlobStore
) -> None:
    content = os.urandom(8 << 20)
    await s3.put_bytes(KEY, content)
    async with behind_proxy(server, settings, after=1 << 20) as (proxy, through):
        proxy.cuts = 2
        async with through.part(KEY, ByteRange(1 << 20, (5 << 20) - 1)) as part:
            assert b"".join([chunk async for chunk in part.chunks]) == content[1 << 20 : 5 << 20]
        assert proxy.done == 2
        asked = bytes(proxy.asked).lower()
        assert b"range: bytes=1048576-5242879" in asked
        assert asked.count(b"range: bytes=") == asked.count(b"get /") == 3


async def test_a_part_is_never_made_of_two_objects(
    server: S3Server, settings: StorageSettings, s3: S3BlobStore
) -> None:
    await s3.put_bytes(KEY, b"1" * (4 << 20))
    async with behind_proxy(server, settings, after=1 << 20) as (proxy, through):
        proxy.cuts = 1
        found = bytearray()

        async def read(part: Part) -> None:
            async for chunk in part.chunks:
                found.extend(chunk)
                if len(found) == len(chunk):
                    await s3.put_bytes(KEY, b"2" * (4 << 20))

        async with through.part(KEY, ByteRange(0, None)) as part:
            with pytest.raises(Unavailable, match="another"):
                await read(part)
    assert set(found) == {ord("1")}


async def test_bytes_of_two_objects_are_never_mixed(
    server: S3Server, settings: StorageSettings, s3: S3BlobStore
) -> None:
    first, second = b"1" * (8 << 20), b"2" * (6 << 20)
    await s3.put_bytes(KEY, first)

    async def replace(_s: float) -> None:
        await s3.put_bytes(KEY, second)

    async with behind_proxy(server, settings, after=3 << 20) as (proxy, through):
        proxy.cuts = 1
        into = io.BytesIO()
        size = await download(through.client, {"Bucket": s3.bucket, "Key": KEY}, into, sleep=replace)
    assert proxy.done == 1
    assert (size, into.getvalue()) == (len(second), second)


async def test_a_download_that_brings_nothing_new_is_given_up(
    server: S3Server, settings: StorageSettings, s3: S3BlobStore
) -> None:
    await s3.put_bytes(KEY, os.urandom(4 << 20))
    waits: list[float] = []

    async def note(wait_s: float) -> None:
        waits.append(wait_s)
        proxy.after = 100  # of the head of an answer

    async with behind_proxy(server, settings, after=1 << 20) as (proxy, through):
        proxy.cuts = 10_000
        with pytest.raises(Unavailable):
            await download(through.client, {"Bucket": s3.bucket, "Key": KEY}, io.BytesIO(), sleep=note)
    assert waits == sorted(waits)


async def test_an_answer_that_is_lost_does_not_lose_the_upload(
    server: S3Server, settings: StorageSettings, s3: S3BlobStore, tmp_path: Path
) -> None:
    content = os.urandom(PART + 1)
    file = tmp_path / "file"
    file.write_bytes(content)
    async with behind_proxy(server, settings, after=0) as (proxy, through):

        async def cut_the_last(done: int, of: int) -> None:
            proxy.cuts = int(done == of)

        await through.put_file(KEY, file, progress=cut_the_last)
        assert proxy.done == 1
        proxy.cuts = 1
        await through.put_bytes("temp/small", b"small")
        assert proxy.done == 2
    assert await s3.read(KEY) == content
    assert await s3.read("temp/small") == b"small"


async def test_a_killed_upload_leaves_no_object(settings: StorageSettings, s3: S3BlobStore, tmp_path: Path) -> None:
    file, log = tmp_path / "file", tmp_path / "log"
    file.write_bytes(os.urandom(3 * PART))
    program = Path(__file__).with_name("dying_program.py")
    words = (sys.executable, str(program), "put", str(tmp_path / "blobs"), KEY, str(file))
    process = begin(words, log, environment(settings))
    until(lambda: "sent" in log.read_text() or process.poll() is not None, "the first part", 30)
    assert process.poll() is None, log.read_text()
    process.kill()
    process.wait()
    assert not await s3.exists(KEY)
    assert await keys_in(s3) == []
    assert (await get(await signed(s3))).status_code == 404
    assert await uploads_under_way(s3) == 1, "which the bucket's rule gives up"
    await s3.put_file(KEY, file)
    assert await s3.read(KEY) == file.read_bytes()


async def test_a_cancelled_upload_leaves_nothing(s3: S3BlobStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3 * PART))
    task: asyncio.Task[None] | None = None

    async def cancel(done: int, _of: int) -> None:
        if done == PART:
            assert task is not None
            task.cancel()

    task = asyncio.create_task(s3.put_file(KEY, file, progress=cancel))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await keys_in(s3) == []
    assert await uploads_under_way(s3) == 0


async def test_a_failed_upload_leaves_nothing(s3: S3BlobStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3 * PART))

    async def fail(done: int, _of: int) -> None:
        if done == PART:
            raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError):
        await s3.put_file(KEY, file, progress=fail)
    assert await keys_in(s3) == []
    assert await uploads_under_way(s3) == 0


async def test_a_bucket_that_is_not_there_does_not_make_content_gone(settings: StorageSettings) -> None:
    async with open_s3(settings.model_copy(update={"s3_bucket": "nobody-has-this-one"})) as s3:
        for ask in (s3.read(KEY), s3.exists(KEY), s3.put_bytes(KEY, b"x")):
            with pytest.raises(Refused, match="storage setup"):
                await ask


@only_versitygw
@pytest.mark.parametrize("wrong", ["s3_access_key_id", "s3_secret_access_key"])
async def test_keys_that_are_refused_say_what_to_check_and_not_what_they_are(
    settings: StorageSettings, wrong: str
) -> None:
    known = {**settings.model_dump(), wrong: "a-wrong-one"}
    async with open_s3(StorageSettings.model_validate(known)) as s3:
        for ask in (s3.read(KEY), s3.put_bytes(KEY, b"x")):
            with pytest.raises(Refused, match="MILLRACE_S3_SECRET_ACCESS_KEY") as told:
                await ask
            assert SECRET_KEY not in str(told.value)
            assert "a-wrong-one" not in str(told.value)
            assert told.value.__cause__ is None


async def test_a_server_that_is_away_is_waited_for(settings: StorageSettings) -> None:
    async with open_s3(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})) as s3:
        for ask in (s3.read(KEY), s3.exists(KEY), s3.put_bytes(KEY, b"x"), s3.delete(KEY)):
            with pytest.raises(Unavailable, match="MILLRACE_S3_ENDPOINT") as told:
                await ask
            assert "127.0.0.1" not in str(told.value)


async def test_an_endpoint_that_is_no_url_is_said_at_the_start(settings: StorageSettings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MILLRACE_S3_ENDPOINT"):
        async with open_blobs(settings.model_copy(update={"s3_endpoint": "not a url"}), tmp_path):
            pass


async def test_an_object_that_vanishes_in_mid_download_is_missing(
    server: S3Server, settings: StorageSettings, s3: S3BlobStore
) -> None:
    await s3.put_bytes(KEY, os.urandom(8 << 20))
    async with behind_proxy(server, settings, after=3 << 20) as (proxy, through):
        proxy.cuts = 1

        async def vanish(_s: float) -> None:
            await s3.delete(KEY)

        with pytest.raises(ClientError, match="NoSuchKey"):
            await download(through.client, {"Bucket": s3.bucket, "Key": KEY}, io.BytesIO(), sleep=vanish)
    with pytest.raises(BlobMissing):
        await s3.read(KEY)
