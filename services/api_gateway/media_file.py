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
from millrace.store.blobs import UPLOADS, BlobMissing, BlobStore, ByteRange, NotHereYet, Part, only_range
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
class Media:
    """What is to be sent: `content_type` is one that no browser takes for a page, `name` what to call a file of it.

    `etag` is of the content, so it is the same however often it is asked for; None where the key does not tell.
    """

    key: str
    content_type: str
    name: str
    etag: str | None

    @property
    def disposition(self) -> str:
        """Played where it is if it is sound or pictures, and else kept as a file."""
        return "inline" if self.content_type.startswith(("audio/", "video/")) else "attachment"

    def wanted(self, asked: str | None, if_range: str | None) -> ByteRange | None:
        """The one range that headers ask for (RFC 9110, 13.1.5); None: all of it has to be there to answer."""
        return only_range(asked) if if_range is None or if_range == self.etag else None


async def find_media(pool: asyncpg.Pool[asyncpg.Record], catalog: Catalog, share_id: str, owner: str) -> Media:
    """A share's media.

    :raises NotFound: there is no such share, it is somebody else's, or it has no media.
    :raises NotNow: its media is not there yet.
    """
    jobs = [] if has_nul(share_id) else await pool.fetch(_SHARE, share_id, owner)
    if not jobs:
        raise NotFound("There is no share with this id.")
    key = _key(jobs, catalog)
    return Media(key, safe_type(key, None), _name(jobs[0], key), etag_of(key))


@asynccontextmanager
async def sent_by(
    blobs: BlobStore, media: Media, wanted: ByteRange | None, share_id: str
) -> AsyncIterator[Path | Part]:
    """A file of all of it, or the part that is wanted, for as long as the context lasts.

    :raises NotFound: it is not in the media store any more.
    :raises BeyondEnd: the media is shorter.
    :raises Unavailable: the media store does not answer.
    """
    async with AsyncExitStack() as stack:
        try:
            if wanted is None:
                found: Path | Part = await stack.enter_async_context(blobs.local_copy(media.key))
            else:
                found = await stack.enter_async_context(blobs.part(media.key, wanted))
        except (BlobMissing, NotHereYet) as exc:
            raise NotFound(_gone(share_id, media.key)) from exc
        yield found


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


def _gone(share_id: str, key: str) -> str:
    if key.startswith(f"{UPLOADS}/"):
        return "The file of this share is not in the media store any more: share it again."
    return (
        "The media of this share has expired: fetched media is kept for a while only. Fetch it again with "
        f"`millrace replay media --share {share_id} --force`."
    )


def _name(share: asyncpg.Record, key: str) -> str:
    suffix = PurePath(key).suffix
    return f"{share['title'] or PurePath(share['filename'] or '').stem or 'media'}{suffix}"
