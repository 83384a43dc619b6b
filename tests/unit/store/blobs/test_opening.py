"""Which store the settings open, and which names they have."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from millrace.cli.storage import StorageCommandSettings
from millrace.errors import ConfigurationError
from millrace.settings import StageSettings, StorageSettings
from millrace.startup import load_settings
from millrace.store.blobs import LocalBlobStore, opening
from millrace.store.blobs.counters import LOCAL, S3_UPLOADS, storage_counts
from millrace.store.blobs.fallback import FallbackBlobStore
from millrace.store.blobs.opening import open_blobs
from services.api_gateway.settings import GatewaySettings

CORE = {"MILLRACE_KAFKA": "k", "MILLRACE_REGISTRY": "r", "MILLRACE_POSTGRES": "p", "MILLRACE_BLOBS": "/b"}
NAMES = {
    "storage_mode": ("MILLRACE_STORAGE_MODE", "STORAGE_MODE"),
    "s3_bucket": ("MILLRACE_S3_BUCKET", "S3_BUCKET", "S3_BUCKET_NAME"),
    "s3_region": ("MILLRACE_S3_REGION", "S3_REGION", "AWS_REGION"),
    "s3_endpoint": ("MILLRACE_S3_ENDPOINT", "S3_ENDPOINT"),
    "s3_access_key_id": ("MILLRACE_S3_ACCESS_KEY_ID", "S3_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
    "s3_secret_access_key": ("MILLRACE_S3_SECRET_ACCESS_KEY", "S3_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
    "s3_session_token": ("MILLRACE_S3_SESSION_TOKEN", "AWS_SESSION_TOKEN"),
    "s3_path_style": ("MILLRACE_S3_PATH_STYLE", "S3_FORCE_PATH_STYLE"),
}
VALUES = {"storage_mode": "hybrid", "s3_path_style": "true"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (name for names in NAMES.values() for name in names):
        monkeypatch.delenv(name, raising=False)
    for name, value in CORE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize("kind", [StageSettings, GatewaySettings])
@pytest.mark.parametrize("field", NAMES)
def test_settings_are_known_by_the_names_of_older_systems_and_ours_go_first(
    field: str, kind: type[StorageSettings], environment: pytest.MonkeyPatch
) -> None:
    value, other = VALUES.get(field, "a-value"), "s3" if field == "storage_mode" else "false"
    for name in reversed(NAMES[field]):
        environment.setenv(name, value)
        found = getattr(kind(), field)
        text = found.get_secret_value() if hasattr(found, "get_secret_value") else str(found).lower()
        assert text == value
        environment.setenv(name, other)  # which the next one goes before


def test_secrets_are_never_printed(environment: pytest.MonkeyPatch) -> None:
    for field in ("s3_access_key_id", "s3_secret_access_key", "s3_session_token"):
        environment.setenv(NAMES[field][-1], "very-secret")
    settings = StageSettings()
    assert "very-secret" not in repr(settings) + settings.model_dump_json()


def test_a_wrong_mode_is_said_under_the_name_it_was_given(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MILLRACE_STORAGE_MODE", "tape")
    with pytest.raises(ConfigurationError, match=r"environment: MILLRACE_STORAGE_MODE \(input should be 'local'"):
        load_settings(StageSettings)


@pytest.mark.parametrize("kind", [StageSettings, GatewaySettings, StorageCommandSettings])
def test_the_folder_is_of_where_the_process_was_started(
    kind: type[StageSettings | GatewaySettings | StorageCommandSettings],
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    environment.chdir(tmp_path)
    environment.setenv("MILLRACE_BLOBS", "media")
    assert kind().blobs == tmp_path / "media"


def test_a_share_is_of_a_hundred() -> None:
    with pytest.raises(ValidationError):
        StorageSettings(hybrid_s3_percent=101)


@pytest.mark.parametrize(
    ("mode", "kept"), [("local", timedelta(hours=30)), ("s3", timedelta(hours=30)), ("hybrid", timedelta(hours=30))]
)
def test_media_is_kept_as_long_as_where_it_is_swept_first(mode: str, kept: timedelta) -> None:
    settings = StorageSettings.model_validate({"storage_mode": mode, "temp_hours": 30, "s3_temp_days": 3})
    assert settings.media_kept == kept


async def test_the_local_folder_is_the_default(tmp_path: Path) -> None:
    async with open_blobs(StorageSettings(), tmp_path) as store:
        assert isinstance(store, LocalBlobStore)


async def test_a_bucket_is_still_read_from_in_the_mode_local_and_takes_nothing(tmp_path: Path) -> None:
    async with open_blobs(StorageSettings(s3_bucket="bucket", s3_region="us-east-1"), tmp_path) as store:
        assert isinstance(store, FallbackBlobStore)
        assert not any(store.goes_to_s3(key) for key in ("uploads/a", *(f"temp/{n}" for n in range(1000))))
        await store.put_bytes("uploads/a", b"x")
        assert await store.local.read("uploads/a") == b"x"


async def test_a_bucket_of_others_does_not_matter_to_a_local_store_without_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None)  # noqa: ARG005 - as it is called
    async with open_blobs(StorageSettings(s3_bucket="bucket"), tmp_path) as store:
        assert isinstance(store, LocalBlobStore)


@pytest.mark.parametrize("mode", ["s3", "hybrid"])
async def test_s3_without_a_bucket_does_not_start(mode: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MILLRACE_S3_BUCKET"):
        async with open_blobs(StorageSettings.model_validate({"storage_mode": mode}), tmp_path):
            pass


async def test_a_key_without_its_secret_does_not_start(tmp_path: Path) -> None:
    half = StorageSettings.model_validate({"storage_mode": "s3", "s3_bucket": "bucket", "s3_access_key_id": "key"})
    with pytest.raises(ConfigurationError, match="MILLRACE_S3_SECRET_ACCESS_KEY"):
        async with open_blobs(half, tmp_path):
            pass


async def test_s3_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("millrace.store.blobs.s3")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aioboto3", None)
    with pytest.raises(ConfigurationError, match=r"aioboto3: install `millrace\[s3\]`"):
        async with open_blobs(StorageSettings(storage_mode="s3", s3_bucket="bucket"), tmp_path):
            pass


async def test_what_is_stored_is_counted(tmp_path: Path) -> None:
    before = storage_counts()
    async with open_blobs(StorageSettings(), tmp_path) as store:
        await store.put_bytes("a", b"x")
    counted = storage_counts()
    assert counted["localStorage"] == before["localStorage"] + 1
    S3_UPLOADS.inc()
    LOCAL.inc(0)
    stored = storage_counts()
    assert stored["s3UploadRate"] == stored["s3Uploads"] / (stored["s3Uploads"] + stored["localStorage"])
