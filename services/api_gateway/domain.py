"""What a share is and what it needs, decided from what was sent: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Literal
from urllib.parse import urlsplit

from millrace.contracts.events import EMBED_CHUNKER, SourceKind, StageName, TaskState
from millrace.contracts.share_api import ContentType, ShareRequest, ShareState
from millrace.text import has_nul
from services.api_gateway.errors import BadRequest, TooLarge

Platform = Literal["tiktok", "youtube", "reddit", "x", "web", "podcast", "upload"]

STAGES: dict[SourceKind, tuple[StageName, ...]] = {
    "url": ("media", "transcribe", "summarize", "embed"),
    "upload": ("media", "transcribe", "summarize", "embed"),
    "text": ("summarize", "embed"),
}
"""The stages a share needs, in the order in which they can finish."""

_PLATFORMS: dict[str, Platform] = {
    "tiktok.com": "tiktok",
    "youtube.com": "youtube",
    "youtube-nocookie.com": "youtube",
    "youtu.be": "youtube",
    "reddit.com": "reddit",
    "redd.it": "reddit",
    "x.com": "x",
    "twitter.com": "x",
    "podcasts.apple.com": "podcast",
    "podcasts.google.com": "podcast",
    "open.spotify.com": "podcast",
    "podbean.com": "podcast",
    "anchor.fm": "podcast",
}
_AUDIO = frozenset(
    {".aac", ".aif", ".aiff", ".flac", ".m4a", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"}
)
_LONGEST_URL = 4096
_SAID_FIRST: tuple[Literal["failed", "running", "parked", "waiting"], ...] = (
    "failed",
    "running",
    "parked",
    "waiting",
)
_LONGEST_FILENAME = 255


@dataclass(frozen=True)
class Upload:
    """A file that was received: its key in the media store, and what the sender said about it."""

    blob_key: str
    filename: str | None
    media_type: str | None


@dataclass(frozen=True)
class Draft:
    """A share that makes sense and may be accepted."""

    source_kind: SourceKind
    platform: Platform
    content_type: ContentType
    account: str
    url: str | None = None
    blob_key: str | None = None
    text: str | None = None
    filename: str | None = None
    title: str | None = None
    description: str | None = None
    language: str | None = None
    tags: tuple[str, ...] = field(default=())
    options: Mapping[str, str] = field(default_factory=dict)
    """Of its stages, by name."""

    @property
    def stages(self) -> tuple[StageName, ...]:
        """The stages this share needs."""
        return STAGES[self.source_kind]


def draft(fields: ShareRequest, upload: Upload | None, *, max_text_bytes: int) -> Draft:
    """Decide what was shared.

    :raises BadRequest: nothing, or more than one thing, or something that cannot be shared.
    :raises TooLarge: a text above `max_text_bytes` (of UTF-8).
    """
    sent = [
        name for name, there in (("url", fields.url), ("text", fields.text), ("file", upload)) if there is not None
    ]
    if len(sent) != 1:
        found = " and ".join(sent) if sent else "none of them"
        raise BadRequest(f"A share is exactly one of url, text and file, but {found} was sent.")
    _check_fields(fields)
    if fields.chunker is not None and fields.text is None:
        raise BadRequest("The field chunker is for texts; what is said in media is cut by its times.")
    if upload is not None:
        return _of_upload(fields, upload)
    if fields.url is not None:
        return _of_url(fields, fields.url)
    return _of_text(fields, fields.text or "", max_text_bytes)


def _of_upload(fields: ShareRequest, upload: Upload) -> Draft:
    filename = safe_filename(upload.filename)
    return _draft(
        fields,
        "upload",
        "upload",
        fields.content_type or _media_type(upload.media_type, filename),
        blob_key=upload.blob_key,
        filename=filename,
    )


def _of_url(fields: ShareRequest, raw: str) -> Draft:
    url = check_url(raw)
    platform = platform_of(urlsplit(url).hostname or "")
    guess = "audio" if platform == "podcast" else _media_type(None, PurePosixPath(urlsplit(url).path).name)
    return _draft(fields, "url", platform, fields.content_type or guess, url=url)


def _of_text(fields: ShareRequest, text: str, limit: int) -> Draft:
    size = len(text.encode())
    if size > limit:
        raise text_too_large(size, limit)
    if not text.strip():
        raise BadRequest("The text is empty; a text share has at least one character that is not blank.")
    return _draft(fields, "text", "web", fields.content_type or "article", text=text)


def _draft(
    fields: ShareRequest,
    kind: SourceKind,
    platform: Platform,
    content_type: ContentType,
    *,
    url: str | None = None,
    blob_key: str | None = None,
    text: str | None = None,
    filename: str | None = None,
) -> Draft:
    return Draft(
        kind,
        platform,
        content_type,
        fields.account,
        url=url,
        blob_key=blob_key,
        text=text,
        filename=filename,
        title=fields.title,
        description=fields.description,
        language=fields.language,
        tags=tuple(fields.tags),
        options={} if fields.chunker is None else {EMBED_CHUNKER: fields.chunker},
    )


def text_too_large(size: int | None, limit: int) -> TooLarge:
    """The refusal of a text of about `size` bytes, None when it was not read to its end."""
    what = "The text" if size is None else f"{about(size)} of text"
    return TooLarge(
        f"{what} is more than the {exact(limit)} that a text share may have; split it into several shares."
    )


def upload_too_large(size: int | None, limit: int) -> TooLarge:
    """The refusal of a file of `size` bytes, None when it was not read to its end."""
    what = "The file" if size is None else f"The file of {about(size)}"
    return TooLarge(
        f"{what} is larger than the {exact(limit)} that an upload may have; share a shorter or smaller one."
    )


def check_url(raw: str) -> str:
    """The URL, when it is one that the media stage may be asked to fetch.

    Whether its address is public is decided where it is fetched: here a name could still mean anything.

    :raises BadRequest: not an absolute http or https URL, one that carries a password, or one that is too long.
    """
    url = raw.strip()
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        raise BadRequest(
            "The url cannot be read; give an absolute one such as https://example.org/talk.mp4."
        ) from exc
    if parts.scheme.lower() not in ("http", "https"):
        raise BadRequest("Only http and https URLs can be shared; upload a file of your own instead of its path.")
    if not host or any(c.isspace() or not c.isprintable() for c in url):
        raise BadRequest("The url cannot be read; give an absolute one such as https://example.org/talk.mp4.")
    if parts.username is not None or parts.password is not None:
        raise BadRequest("The url carries a user name or password, which would be stored; share one without.")
    if len(url) > _LONGEST_URL:
        raise BadRequest(f"The url has {len(url)} characters; at most {_LONGEST_URL} are taken.")
    return url


def platform_of(host: str) -> Platform:
    """Which platform a host name belongs to; `web` for all that are not known.

    >>> platform_of("m.youtube.com"), platform_of("notyoutube.com")
    ('youtube', 'web')
    """
    labels = host.lower().rstrip(".").split(".")
    for start in range(len(labels) - 1):
        known = _PLATFORMS.get(".".join(labels[start:]))
        if known is not None:
            return known
    return "web"


def _media_type(declared: str | None, filename: str | None) -> ContentType:
    if declared is not None and declared.lower().startswith("audio/"):
        return "audio"
    return "audio" if PurePosixPath(filename or "").suffix.lower() in _AUDIO else "video"


def safe_filename(name: str | None) -> str | None:
    """The last part of a file name as sent, printable and at most 255 characters: to be shown, never to be opened.

    >>> safe_filename("..\\\\..\\\\etc/talk.mp4")
    'talk.mp4'
    """
    if name is None:
        return None
    last = PureWindowsPath(PurePosixPath(name).name).name
    kept = "".join(c for c in last if c.isprintable()).strip()
    return kept[-_LONGEST_FILENAME:] or None


def _check_fields(fields: ShareRequest) -> None:
    named = {"url": fields.url, "text": fields.text, "title": fields.title, "description": fields.description}
    for name, value in (*named.items(), *(("tags", tag) for tag in fields.tags)):
        if value is not None and has_nul(value):
            raise BadRequest(f"The field {name} holds a NUL character, so it is not text; upload a file instead.")


def share_state(states: Iterable[TaskState]) -> ShareState:
    """The state of a share whose stages are in `states`.

    One failed stage fails the share, because what comes after it cannot happen; work that moves hides work that
    waits, and a parked stage (money) says more than one that waits for its turn. A share is cancelled when one of
    its stages was and nothing goes on.
    """
    seen: set[TaskState] = set(states)
    if seen <= {"done", "skipped"}:
        return "done"
    for state in _SAID_FIRST:
        if state in seen:
            return state
    if seen <= {"done", "skipped", "cancelled"}:
        return "cancelled"
    return "queued" if seen == {"queued"} else "running"


def blocked(stages: Sequence[tuple[StageName, TaskState]]) -> dict[StageName, str]:
    """Why stages that are still queued will not start: the first stage before them that failed or is parked.

    Only media and transcribe are waited for; summarize and embed do not need one another.
    """
    reasons: dict[StageName, str] = {}
    stop: tuple[StageName, TaskState] | None = None
    for name, state in stages:
        if stop is not None and state == "queued":
            verb = "failed" if stop[1] == "failed" else "is parked"
            reasons[name] = f"needs {stop[0]}, which {verb}"
        elif stop is None and name in ("media", "transcribe") and state in ("failed", "parked"):
            stop = (name, state)
    return reasons


def about(size: int) -> str:
    """A size for people, in decimal units.

    >>> about(3), about(10_000_000), about(1_499)
    ('3 bytes', '10.0 MB', '1.5 kB')
    """
    for unit, name in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} byte" if size == 1 else f"{size} bytes"


def exact(limit: int) -> str:
    """A limit for people, in the unit in which it is a whole number.

    >>> exact(524_288), exact(500_000_000)
    ('512 KiB', '500 MB')
    """
    for unit, name in ((1_000_000, "MB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if limit >= unit and limit % unit == 0:
            return f"{limit // unit} {name}"
    return f"{limit} bytes"
