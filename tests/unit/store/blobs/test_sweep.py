from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace.store.blobs import About, LocalBlobStore
from millrace.store.blobs.markers import Markers, note_name
from millrace.store.blobs.sweep import sweep_store

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def made(root: Path, name: str, age: timedelta) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    at = (NOW - age).timestamp()
    os.utime(path, (at, at))
    return path


def left(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def swept(root: Path) -> int:
    return sweep_store(root, NOW, keep=DAY, held=Markers(root).names())


def test_media_goes_after_its_time_and_everything_else_stays(tmp_path: Path) -> None:
    made(tmp_path, "temp/videos/2026/11/26/old.mp4", DAY + timedelta(seconds=1))
    made(tmp_path, "temp/videos/2026/11/26/new.mp4", DAY - timedelta(seconds=1))
    made(tmp_path, "uploads/ab/old.mp4", 300 * DAY)
    made(tmp_path, "transcripts/ab/old.json", 300 * DAY)
    assert swept(tmp_path) == 1
    assert left(tmp_path) == [
        "temp/videos/2026/11/26/new.mp4",
        "transcripts/ab/old.json",
        "uploads/ab/old.mp4",
    ]


def test_folders_of_past_days_go_when_they_are_empty(tmp_path: Path) -> None:
    made(tmp_path, "temp/videos/2025/12/31/old.mp4", 300 * DAY)
    made(tmp_path, "temp/videos/2026/10/31/old.mp4", 20 * DAY)
    made(tmp_path, "temp/videos/2026/11/26/new.mp4", timedelta(hours=13))
    for name in ("2026/11/25", "2026/11/27"):
        (tmp_path / "temp/videos" / name).mkdir()
    assert swept(tmp_path) == 2
    videos = tmp_path / "temp/videos"
    folders = sorted(str(path.relative_to(videos)) for path in videos.rglob("*") if path.is_dir())
    assert folders == ["2026", "2026/11", "2026/11/26", "2026/11/27"]


@pytest.mark.parametrize(("minute", "kept"), [(45, {"2026/11/27"}), (55, {"2026/11/27", "2026/11/28"})])
def test_the_folder_that_somebody_may_be_about_to_write_to_stays(minute: int, kept: set[str], tmp_path: Path) -> None:
    for name in ("2026/11/26", "2026/11/27", "2026/11/28"):
        (tmp_path / "temp/videos" / name).mkdir(parents=True)
    sweep_store(tmp_path, datetime(2026, 11, 27, 23, minute, tzinfo=UTC), keep=DAY)
    assert {str(path.relative_to(tmp_path / "temp/videos")) for path in tmp_path.glob("temp/videos/*/*/*")} == kept


def test_what_is_meant_for_s3_stays_whatever_its_age(tmp_path: Path) -> None:
    wanted = made(tmp_path, "temp/videos/2026/11/01/wanted.mp4", 26 * DAY)
    Markers(tmp_path).mark("temp/videos/2026/11/01/wanted.mp4", About())
    assert swept(tmp_path) == 0
    assert wanted.exists()
    Markers(tmp_path).remove("temp/videos/2026/11/01/wanted.mp4")
    assert swept(tmp_path) == 1


def test_what_is_meant_for_s3_stays_in_a_folder_that_is_named_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = made(tmp_path, "blobs/temp/videos/2026/11/01/wanted.mp4", 26 * DAY)
    Markers(tmp_path / "blobs").mark("temp/videos/2026/11/01/wanted.mp4", About())
    monkeypatch.chdir(tmp_path)
    assert swept(Path("blobs")) == 0
    assert wanted.exists()


def test_what_is_meant_for_s3_stays_when_its_note_cannot_be_read(tmp_path: Path) -> None:
    key = "temp/videos/2026/11/01/wanted.mp4"
    wanted = made(tmp_path, key, 26 * DAY)
    Markers(tmp_path).mark(key, About())
    note = tmp_path / ".healing" / note_name(key)
    note.unlink()
    note.mkdir()
    assert swept(tmp_path) == 0
    assert wanted.exists()


def test_what_killed_fetches_left_goes_after_hours_in_which_nothing_came(tmp_path: Path) -> None:
    hours = {"old": timedelta(hours=7), "running": timedelta(hours=5)}
    for name, age in hours.items():
        made(tmp_path, f".fetching/media-{name}/in/media.part", age)
        for folder in (f".fetching/media-{name}/in", f".fetching/media-{name}"):
            os.utime(tmp_path / folder, (0, 0))
    swept(tmp_path)
    assert left(tmp_path) == [".fetching/media-running/in/media.part"]


def test_nothing_is_swept_behind_a_link(tmp_path: Path) -> None:
    made(tmp_path, "elsewhere/media-old/precious", 300 * DAY)
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/.fetching").symlink_to(tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere/media-old", (0, 0))
    swept(tmp_path / "blobs")
    assert left(tmp_path) == ["elsewhere/media-old/precious"]


def test_what_cannot_be_removed_does_not_hold_the_others_up(tmp_path: Path) -> None:
    made(tmp_path, ".lent/a-file-where-folders-are-expected", 2 * DAY)
    (tmp_path / ".incoming/tmpfolder").mkdir(parents=True)
    os.utime(tmp_path / ".incoming/tmpfolder", (0, 0))
    made(tmp_path, ".incoming/tmpold", 2 * DAY)
    made(tmp_path, "temp/videos/2026/11/25/old.mp4", 2 * DAY)
    assert swept(tmp_path) == 1
    assert left(tmp_path) == [".lent/a-file-where-folders-are-expected"]


def test_what_killed_writers_left_goes_after_a_day(tmp_path: Path) -> None:
    made(tmp_path, ".incoming/tmpold", DAY + timedelta(hours=1))
    made(tmp_path, ".incoming/tmpnew", timedelta(hours=23))
    swept(tmp_path)
    assert left(tmp_path) == [".incoming/tmpnew"]


async def test_what_killed_readers_left_goes_after_a_day(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path)
    await store.put_bytes("uploads/a", b"x")
    lending = store.local_copy("uploads/a")
    path = await lending.__aenter__()
    sweep_store(tmp_path, datetime.now(UTC) + timedelta(hours=23), keep=DAY)
    assert path.exists()
    sweep_store(tmp_path, datetime.now(UTC) + timedelta(hours=25), keep=DAY)
    assert not path.exists()
    assert await store.read("uploads/a") == b"x"
    await lending.__aexit__(None, None, None)


def test_a_store_that_is_still_to_be_made_is_swept_in_no_time(tmp_path: Path) -> None:
    assert swept(tmp_path / "missing") == 0
    assert not (tmp_path / "missing").exists()
