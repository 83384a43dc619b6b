from __future__ import annotations

from pathlib import Path

from millrace.store.blobs import LocalBlobStore
from services.api_gateway.projections import _transcript


async def test_a_transcript_is_shown_while_the_media_store_with_its_segments_is_away(tmp_path: Path) -> None:
    result = {
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
    view = await _transcript(LocalBlobStore(tmp_path / "not-mounted"), result)
    assert view is not None
    assert (view.text, view.segments) == ("Ask not", [])
    assert view.note is not None
    assert "media store is not there" in view.note
