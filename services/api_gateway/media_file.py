"""The media of a share, for its player."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

import asyncpg

from millrace.contracts.catalog import Catalog
from millrace.store.blobs import BlobMissing, BlobStore, NotHereYet
from millrace.store.blobs.kinds import safe_type
from millrace.text import has_nul
from services.api_gateway.domain import blocked
from services.api_gateway.errors import NotFound, NotNow

_STAGE: Final = "media"
_SHARE: Final = """
SELECT s.source_kind, s.blob_key, s.title, s.filename, j.stage, j.state, j.reason, w.result
  FROM shares s LEFT JOIN jobs j USING (share_id)
  LEFT JOIN work w ON w.work_key = j.work_key AND j.stage = 'media' AND j.state IN ('done', 'skipped')
 WHERE s.share_id = $1 AND s.owner = $2
"""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class MediaFile:
    """A file to send: `content_type` is one that no browser takes for a page, `name` what to call it when it is kept.

    `etag` is of the content, so it is the same however often the file is lent; None where the key does not tell.
    """

    path: Path
    content_type: str
    name: str
    etag: str | None

    @property
    def disposition(self) -> str:
        """Played where it is if it is sound or pictures, and else kept as a file."""
        return "inline" if self.content_type.startswith(("audio/", "video/")) else "attachment"


@asynccontextmanager
async def media_file(
    pool: asyncpg.Pool[asyncpg.Record], blobs: BlobStore, catalog: Catalog, share_id: str, owner: str
) -> AsyncIterator[MediaFile]:
    """A share's media as a file, for as long as the context lasts.

    :raises NotFound: there is no such share, it is somebody else's, or it has no media (any more).
    :raises NotNow: its media is not there yet.
    :raises Unavailable: the media store does not answer.
    """
    jobs = [] if has_nul(share_id) else await pool.fetch(_SHARE, share_id, owner)
    if not jobs:
        raise NotFound("There is no share with this id.")
    key = _key(jobs, catalog)
    async with AsyncExitStack() as stack:
        try:
            path = await stack.enter_async_context(blobs.local_copy(key))
        except (BlobMissing, NotHereYet) as exc:
            raise NotFound(_gone(share_id, jobs[0]["source_kind"])) from exc
        yield MediaFile(path, safe_type(key, None), _name(jobs[0], key), etag_of(key))


def etag_of(key: str) -> str | None:
    """A strong ETag (RFC 9110, 8.8.3): the hash of the content, which the keys of media are made from.

    >>> etag_of("uploads/ab/abc.mp4") is None
    True
    """
    found = _SHA256.search(key)
    return None if found is None else f'"{found[0]}"'


def _key(jobs: Sequence[asyncpg.Record], catalog: Catalog) -> str:
    """The key of a share's media: of an upload its own, and else what the stage has fetched.

    :raises NotFound: there is none, and will not be by itself.
    :raises NotNow: it is still to be fetched.
    """
    share = jobs[0]
    if share["blob_key"]:
        return str(share["blob_key"])
    stages = sorted((job for job in jobs if job["stage"] is not None), key=lambda job: catalog.place_of(job["stage"]))
    job = next((job for job in stages if job["stage"] == _STAGE), None)
    if job is None:
        raise NotFound("This share has no media: it is a text.")
    if job["result"] is not None:
        if key := job["result"].get("blob_key"):
            return str(key)
        raise NotFound("This share has no media: the page that was shared has no video.")
    reason = job["reason"] or blocked([(stage["stage"], stage["state"]) for stage in stages]).get(_STAGE)
    because = f" ({reason.rstrip('.')})" if reason else ""
    if job["state"] in ("failed", "cancelled", "skipped"):
        raise NotFound(f"This share has no media: media is {job['state']}{because}.")
    raise NotNow(f"The media is not there yet: media is {job['state']}{because}.")


def _gone(share_id: str, kind: str) -> str:
    if kind == "upload":
        return "The file of this share is not in the media store any more: share it again."
    return (
        "The media of this share has expired: fetched media is kept for a while only. Fetch it again with "
        f"`millrace replay media --share {share_id} --force`."
    )


def _name(share: asyncpg.Record, key: str) -> str:
    suffix = PurePath(key).suffix
    return f"{share['title'] or PurePath(share['filename'] or '').stem or 'media'}{suffix}"
