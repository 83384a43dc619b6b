"""The media store: large bytes by key, in a local folder, in S3, or in both. docs/storage.md."""

from millrace.store.blobs.keys import TEMP, UPLOADS, BadKey, check_key, content_key, is_temporary, media_key
from millrace.store.blobs.local import LocalBlobStore, fingerprint
from millrace.store.blobs.part import BeyondEnd, ByteRange, Part, only_range
from millrace.store.blobs.port import NOTHING, About, BlobMissing, BlobStore, NotHereYet, Progress, put_once

__all__ = [
    "NOTHING",
    "TEMP",
    "UPLOADS",
    "About",
    "BadKey",
    "BeyondEnd",
    "BlobMissing",
    "BlobStore",
    "ByteRange",
    "LocalBlobStore",
    "NotHereYet",
    "Part",
    "Progress",
    "check_key",
    "content_key",
    "fingerprint",
    "is_temporary",
    "media_key",
    "only_range",
    "put_once",
]
