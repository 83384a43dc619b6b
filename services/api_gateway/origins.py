"""The event that a stage works on, made again from what is kept of its share. Pure.

Kafka keeps events for a while only, and by their offsets; a share's row and the results of its stages say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from pydantic import ValidationError

from millrace.contracts.events import MediaReady, ShareCreated, ShareEvent, StageName, TranscriptReady
from millrace.money import ZERO
from services.api_gateway.errors import NotNow

_FROM: Final[Mapping[StageName, tuple[StageName, ...]]] = {
    "media": (),
    "transcribe": ("media",),
    "summarize": ("transcribe",),
    "embed": ("transcribe",),
}
"""The stages before it that a stage of shared media needs the results of; stages that others add are not known."""

E = TypeVar("E", MediaReady, TranscriptReady)

TOPICS: Final[Mapping[type[ShareEvent], str]] = {
    ShareCreated: "share.created",
    MediaReady: "media.ready",
    TranscriptReady: "transcript.ready",
}


@dataclass(frozen=True)
class Kept:
    """A result of a stage of the share: as it was stored, of which work, and since when it is there."""

    work_key: str
    result: Mapping[str, object]
    cost_micro_usd: int
    finished_at: datetime


def needs(stage: StageName, share: ShareCreated) -> tuple[StageName, ...]:
    """The stages whose results a stage reads; none where it reads what was shared.

    :raises NotNow: nobody here knows what it reads.
    """
    if stage not in _FROM:
        raise NotNow(f"What the stage {stage} reads is not kept here: use `millrace replay {stage} --share ID`.")
    return () if share.source_kind == "text" else _FROM[stage]


def origin(stage: StageName, share: ShareCreated, kept: Mapping[StageName, Kept]) -> ShareEvent | None:
    """What the stage works on; None when the stage before it has no result.

    :raises NotNow: it cannot be made again.
    """
    before = needs(stage, share)
    if any(name not in kept for name in before):
        return None
    try:
        if before == ("media",):
            return _media_ready(share, kept["media"])
        if before == ("transcribe",):
            return _event(TranscriptReady, share, kept["transcribe"], title=_title(share, kept.get("media")))
    except ValidationError as exc:
        raise NotNow(
            f"What the stage {stage} reads was stored by another version: use `millrace replay {stage} --share ID`."
        ) from exc
    return share


def _media_ready(share: ShareCreated, media: Kept) -> MediaReady:
    return _event(
        MediaReady,
        share,
        media,
        title=_title(share, media),
        source_url=share.url,
        has_video=media.result.get("video_codec") is not None,
        has_audio=media.result.get("audio_codec") is not None,
        estimated_cost_micro_usd=ZERO,
    )


def _title(share: ShareCreated, media: Kept | None) -> str | None:
    """As the media stage says it: what was shared under it, or else what the source calls it."""
    if share.title or media is None:
        return share.title
    metadata = media.result.get("metadata")
    named = metadata.get("title") if isinstance(metadata, dict) else None
    title = media.result.get("title") or named
    return None if title is None else str(title)


def _event(kind: type[E], share: ShareCreated, kept: Kept, **more: object) -> E:
    about = {"share_id": share.share_id, "account": share.account, "work_key": kept.work_key}
    cost = {"cost_micro_usd": kept.cost_micro_usd, "produced_at": kept.finished_at}
    result = {name: value for name, value in kept.result.items() if name in kind.model_fields}
    return kind.model_validate({**result, **about, **cost, **more})
