"""Media stores of every kind over real S3 servers."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from millrace.settings import StorageSettings
from millrace.store.blobs import BlobStore
from millrace.store.blobs.fallback import FallbackBlobStore
from millrace.store.blobs.opening import open_blobs
from millrace.store.blobs.s3 import S3BlobStore, open_client
from tests.support.s3 import S3Server, s3mock, versitygw

_SERVERS = {"s3mock": s3mock, "versitygw": versitygw}
PART = 5 << 20
"""S3 takes no smaller parts but the last."""


@pytest.fixture(scope="session", params=["s3mock", pytest.param("versitygw", marks=pytest.mark.versitygw)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Each of the servers."""
    with _SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
async def settings(server: S3Server) -> StorageSettings:
    """Settings for a bucket of the test's own, which is there."""
    settings = server.settings(f"bucket-{uuid.uuid4().hex[:12]}")
    async with open_client(settings) as client:
        await client.create_bucket(Bucket=settings.s3_bucket or "")
    return settings


@pytest.fixture
async def s3(settings: StorageSettings) -> AsyncIterator[S3BlobStore]:
    """The bucket alone, with small parts."""
    async with open_client(settings) as client:
        yield S3BlobStore(client, settings.s3_bucket or "", part=PART)


@pytest.fixture
async def blobs(settings: StorageSettings, tmp_path: Path) -> AsyncIterator[FallbackBlobStore]:
    """What services have in the mode s3."""
    async with open_blobs(settings, tmp_path / "blobs") as store:
        assert isinstance(store, FallbackBlobStore)
        yield store


@pytest.fixture(params=["local", "s3", "hybrid"])
async def store(
    request: pytest.FixtureRequest, settings: StorageSettings, tmp_path: Path
) -> AsyncIterator[BlobStore]:
    """The store of each mode; a hybrid one of which half goes to S3."""
    mode = {"storage_mode": request.param, "hybrid_s3_percent": 50}
    async with open_blobs(settings.model_copy(update=mode), tmp_path / "blobs") as opened:
        yield opened


def environment(settings: StorageSettings, **more: str) -> dict[str, str]:
    """The same settings for a process."""
    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    assert key is not None
    assert secret is not None
    return {
        "MILLRACE_STORAGE_MODE": settings.storage_mode,
        "MILLRACE_S3_BUCKET": settings.s3_bucket or "",
        "MILLRACE_S3_ENDPOINT": settings.s3_endpoint or "",
        "MILLRACE_S3_ACCESS_KEY_ID": key.get_secret_value(),
        "MILLRACE_S3_SECRET_ACCESS_KEY": secret.get_secret_value(),
        "MILLRACE_S3_PATH_STYLE": "true",
        **more,
    }
