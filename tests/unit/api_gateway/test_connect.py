from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from millrace.errors import ConfigurationError
from services.api_gateway.connect import prepare_folders


def test_what_killed_processes_left_is_swept_at_the_start(tmp_path: Path) -> None:
    uploads, blobs = tmp_path / "uploads", tmp_path / "blobs"
    prepare_folders(uploads, blobs)
    (blobs / ".incoming").mkdir(parents=True)
    swept = [uploads / "upload-old", blobs / ".incoming" / "tmpold"]
    kept = [uploads / "upload-new", blobs / ".incoming" / "tmpnew"]
    for path in (*swept, *kept):
        path.write_bytes(b"half")
    for path in swept:
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    prepare_folders(uploads, blobs)
    assert [path.exists() for path in swept] == [False, False]
    assert [path.exists() for path in kept] == [True, True]


def test_a_folder_that_cannot_be_made_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="MILLRACE_UPLOAD_FOLDER"):
        prepare_folders(tmp_path / "taken" / "uploads", tmp_path)
