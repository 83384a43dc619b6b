from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace.errors import ConfigurationError
from services.api_gateway.connect import prepare_folder


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
