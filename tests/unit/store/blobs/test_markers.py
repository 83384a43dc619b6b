from __future__ import annotations

from pathlib import Path

import pytest

from millrace.store.blobs import About
from millrace.store.blobs.markers import Markers, note_name

KEY = "temp/videos/2026/11/27/a.mp4"
ABOUT = About({"title": "a \N{PARTY POPPER}\n\ud83d"}, "video/mp4")


def test_a_note_says_everything_again(tmp_path: Path) -> None:
    Markers(tmp_path).mark(KEY, ABOUT)
    (marked,) = Markers(tmp_path).all()
    assert (marked.key, marked.about) == (KEY, ABOUT)
    assert Markers(tmp_path).names() == {note_name(KEY)}


def test_a_key_is_noted_once_and_may_be_forgotten_twice(tmp_path: Path) -> None:
    markers = Markers(tmp_path)
    assert markers.all() == []
    for _ in range(2):
        markers.mark(KEY, ABOUT)
    assert len(markers.all()) == 1
    for _ in range(2):
        markers.remove(KEY)
    assert markers.all() == []


def test_a_note_that_somebody_has_spoilt_does_not_hide_the_others(tmp_path: Path) -> None:
    markers = Markers(tmp_path)
    markers.mark(KEY, ABOUT)
    (tmp_path / ".healing" / "a.json").write_text("{")
    (tmp_path / ".healing" / "b.json").write_text('{"key": "../../etc/passwd", "metadata": {}, "content_type": null}')
    (tmp_path / ".healing" / "c.json").write_text(
        '{"key": "a", "metadata": {"Not a name": "x"}, "content_type": null}'
    )
    assert [marked.key for marked in markers.all()] == [KEY]


def test_a_note_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    markers = Markers(tmp_path)
    markers.mark(KEY, ABOUT)
    (tmp_path / ".healing" / note_name("a")).mkdir()
    assert [marked.key for marked in markers.all()] == [KEY]


def test_a_folder_of_notes_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / ".healing").write_bytes(b"")
    with pytest.raises(OSError, match=r"\.healing"):
        Markers(tmp_path).names()


def test_one_at_a_time_heals_a_folder(tmp_path: Path) -> None:
    markers = Markers(tmp_path)
    with markers.sole_healer() as alone:
        assert not alone, "there is nothing to heal"
    markers.mark(KEY, ABOUT)
    with markers.sole_healer() as first, Markers(tmp_path).sole_healer() as second:
        assert (first, second) == (True, False)
    with markers.sole_healer() as again:
        assert again
