"""A server that takes connections and does nothing more."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from millrace.errors import Unavailable
from millrace.settings import StorageSettings
from millrace.store.blobs import s3, s3_upload
from millrace.store.blobs.opening import open_blobs, open_s3

KEY = "temp/videos/2026/11/27/clip.mp4"


@pytest.fixture(params=["says nothing", "reads nothing"])
async def silent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StorageSettings]:
    """Settings that lead to such a server; limits are a second instead of twenty, and five instead of 120."""
    monkeypatch.setattr(s3, "_SILENT_S", 1.0)
    monkeypatch.setattr(s3_upload, "SENT_WITHIN_S", 5.0)
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.param == "reads nothing":
            reader._transport.pause_reading()  # type: ignore[attr-defined]  # there is no public way
        else:
            while await reader.read(1 << 16):
                pass
        await over.wait()
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        known = {
            "storage_mode": "s3",
            "s3_bucket": "bucket",
            "s3_endpoint": f"http://127.0.0.1:{port}",
            "s3_access_key_id": "key",
            "s3_secret_access_key": "secret",
            "s3_path_style": True,
        }
        yield StorageSettings.model_validate(known)
        over.set()
        server.close()


async def test_questions_to_it_come_to_an_end(silent: StorageSettings) -> None:
    async with open_s3(silent) as store:
        for ask in (store.exists(KEY), store.read(KEY)):
            began = time.monotonic()
            with pytest.raises(Unavailable, match="in time"):
                await ask
            assert time.monotonic() - began < 20


async def test_uploads_go_to_the_folder_and_the_next_ones_do_not_wait(
    silent: StorageSettings, tmp_path: Path
) -> None:
    content = os.urandom(8 << 20)
    async with open_blobs(silent, tmp_path) as store:
        began = time.monotonic()
        await store.put_bytes(KEY, content)
        assert time.monotonic() - began < 20
        began = time.monotonic()
        await store.put_bytes(f"{KEY}.2", content)
        assert time.monotonic() - began < 1
        assert await store.read(KEY) == content
