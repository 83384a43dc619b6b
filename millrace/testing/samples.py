"""Valid events for tests: every field filled plausibly, the ones that matter to a test given by name."""

from __future__ import annotations

from datetime import UTC, datetime

from millrace.contracts.events import MediaReady, ShareCreated, TranscriptReady

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""The moment of every sample."""


def share_created(**changes: object) -> ShareCreated:
    """A text share, unless `source_kind` and its field say otherwise."""
    fields: dict[str, object] = {
        "share_id": "share-1",
        "account": "acme",
        "owner": "somebody",
        "source_kind": "text",
        "platform": "web",
        "content_type": "article",
        "created_at": NOW,
    }
    return ShareCreated.model_validate(fields | changes)


def media_ready(**changes: object) -> MediaReady:
    """Ten seconds of video with sound."""
    fields: dict[str, object] = {
        "share_id": "share-1",
        "account": "acme",
        "work_key": "media:1",
        "produced_at": NOW,
        "blob_key": "media/clip.mp4",
        "media_url": "file:///clip.mp4",
        "sha256": "a" * 64,
        "size_bytes": 3,
        "duration_ms": 10_000,
        "format": "mov,mp4,m4a,3gp,3g2,mj2",
        "has_video": True,
        "has_audio": True,
        "title": "A speech",
    }
    return MediaReady.model_validate(fields | changes)


def transcript_ready(**changes: object) -> TranscriptReady:
    """A transcript without segments, unless they are given."""
    fields: dict[str, object] = {
        "share_id": "share-1",
        "account": "acme",
        "work_key": "transcribe:1",
        "produced_at": NOW,
        "language": "en",
        "text": "",
        "duration_ms": 10_000,
        "billed_ms": 10_000,
        "title": "A speech",
        "backend": "local",
        "model": "tiny.en",
    }
    return TranscriptReady.model_validate(fields | changes)
