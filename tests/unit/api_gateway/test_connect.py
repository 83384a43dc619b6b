from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace.errors import ConfigurationError
from millrace.startup import load_settings
from services.api_gateway.connect import close_to_strangers, prepare_folder
from services.api_gateway.settings import GatewaySettings


def test_uploads_that_killed_processes_left_are_swept_at_the_start(tmp_path: Path) -> None:
    uploads, now = tmp_path / "uploads", datetime.now(UTC)
    prepare_folder(uploads, now)
    old, new = uploads / "upload-old", uploads / "upload-new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    prepare_folder(uploads, now)
    assert list(uploads.iterdir()) == [new]


def test_a_folder_that_cannot_be_made_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="MILLRACE_UPLOAD_FOLDER"):
        prepare_folder(tmp_path / "taken" / "uploads", datetime.now(UTC))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "gateway"])  # noqa: S104
def test_nothing_listens_to_other_machines_without_a_sign_in(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA", "REGISTRY", "POSTGRES", "BLOBS"):
        monkeypatch.setenv(f"MILLRACE_{name}", "unused")
    monkeypatch.setenv("MILLRACE_HTTP_HOST", host)
    with pytest.raises(ConfigurationError, match="MILLRACE_JWT_SECRET"):
        close_to_strangers(GatewaySettings())
    monkeypatch.setenv("MILLRACE_JWT_SECRET", "x" * 32)
    close_to_strangers(GatewaySettings())
    monkeypatch.delenv("MILLRACE_JWT_SECRET")
    monkeypatch.setenv("MILLRACE_HTTP_HOST", "127.0.0.1")
    close_to_strangers(GatewaySettings())


_WRONG = {"MILLRACE_JWT_SECRET": "a-short-one", "MILLRACE_RATE_LIMIT": "several"}


@pytest.mark.parametrize("name", _WRONG)
def test_a_sign_in_that_is_none_is_a_setting_that_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in ("KAFKA", "REGISTRY", "POSTGRES", "BLOBS"):
        monkeypatch.setenv(f"MILLRACE_{needed}", "unused")
    monkeypatch.setenv(name, _WRONG[name])
    with pytest.raises(ConfigurationError, match=name) as refused:
        load_settings(GatewaySettings)
    assert _WRONG[name] not in str(refused.value)
