from __future__ import annotations

from pathlib import Path

import pytest

from millrace.errors import Unavailable
from millrace.store.blobs.scratch import FETCHING, scratch_folder


def test_a_folder_of_ones_own_is_gone_at_the_end_whatever_happened(tmp_path: Path) -> None:
    parent = tmp_path / "blobs" / FETCHING

    def fetch_and_fail() -> None:
        with scratch_folder(parent) as first, scratch_folder(parent) as second:
            assert first != second
            assert first.parent == second.parent == parent
            assert first.stat().st_mode & 0o077 == 0
            (first / "half").write_bytes(b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fetch_and_fail()
    assert list(parent.iterdir()) == []


def test_a_link_is_no_place_for_what_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / FETCHING).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="link"), scratch_folder(tmp_path / FETCHING):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_place_that_cannot_be_made_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="cannot be written"), scratch_folder(tmp_path / "file" / FETCHING):
        pass
