from __future__ import annotations

from pathlib import Path

from millrace.store.blobs import LocalBlobStore
from services.api_gateway.projections import _transcript
from services.api_gateway.transcripts import _Result, _segments
from tests.support.bucket import FolderBucket, node

RESULT = {
    "text": "Ask not",
    "segments": [],
    "language": "en",
    "duration_ms": 11_000,
    "billed_ms": 9_000,
    "backend": "local",
    "model": "tiny.en",
    "segments_ref": "transcripts/ab/cd.json",
    "skipped_reason": None,
}


async def test_a_transcript_is_shown_while_the_media_store_with_its_segments_is_away(tmp_path: Path) -> None:
    view = await _transcript(LocalBlobStore(tmp_path / "not-mounted"), RESULT)
    assert view is not None
    assert (view.text, view.segments) == ("Ask not", [])
    assert view.note is not None
    assert "media store is not there" in view.note


async def test_a_transcript_is_shown_while_its_segments_are_on_their_way_from_another_machine(tmp_path: Path) -> None:
    store = node(tmp_path / "here", FolderBucket(tmp_path / "bucket"))
    view = await _transcript(store, RESULT)
    assert view is not None
    assert (view.text, view.segments) == ("Ask not", [])
    assert view.note is not None
    assert "another machine" in view.note
    segments, note = await _segments(store, _Result.model_validate(RESULT))
    assert (segments, note) == ([], view.note)
