"""yt-dlp as a library, with everything off that is not needed to get one file through the proxy."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yt_dlp
from yt_dlp import globals as yt_globals
from yt_dlp.networking.exceptions import HTTPError, RequestError
from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor
from yt_dlp.utils import GeoRestrictedError, UnsupportedError, YoutubeDLError

from millrace.fetch.child.page import caption_of, decoded
from millrace.fetch.child.plain import plain

_NOWHERE = "/dev/null/none"  # no such file can ever be
_LONGEST_PAGE = 2 << 20
_LONGEST_PLAYLIST = 3  # links that lead to a link that leads to a video
_NAME = "media"

# One file that needs no merging, with sound and picture, of modest size; else its sound; else what there is.
_PROTOCOL = "[protocol~='^(https?|m3u8|m3u8_native|http_dash_segments)$']"
_FORMAT = "/".join(choice + _PROTOCOL for choice in ("b[height<=?720]", "ba", "w", "bv[height<=?720]", "wv"))

# What an extraction needs to be downloaded and described by another process, and nothing else of it is kept.
_ABOUT = ("id", "title", "description", "uploader", "channel", "upload_date", "duration")
_ORIGIN = ("extractor", "extractor_key", "live_status", "is_live")
_HOW = (
    *("url", "ext", "protocol", "http_headers", "cookies", "format_id", "manifest_url", "container"),
    *("downloader_options", "fragments", "fragment_base_url", "hls_aes", "hls_media_playlist_data"),
    *("extra_param_to_segment_url", "extra_param_to_key_url"),
    *("width", "height", "vcodec", "acodec", "filesize", "filesize_approx"),
)
_LIVE = frozenset({"is_live", "is_upcoming", "post_live"})

# In yt-dlp's own sentences, which differ from site to site; the first that matches.
_SAID = (
    # First: sites say this along with words that stand for other things below ("or login required", "unavailable").
    ("busy", r"rate.?limit|too many requests|try again later|not a (?:ro)?bot|temporarily (?:unavailable|blocked)"),
    ("busy", r"IP address is blocked|fresh cookies"),
    ("no-video", r"no video|no media|does(?: not|n't) (?:contain|have) (?:any |a )?(?:video|media)|not a video"),
    ("drm", r"\bDRM\b"),
    ("live", r"live (?:event|stream)|livestream|premieres in|not currently live"),
    ("login", r"log ?in|sign in|members|subscri|age[- ]restrict|confirm your age|registered"),
    # "Private" alone may be a title or a kind of show; the options are what yt-dlp adds where an account is wanted.
    ("login", r"private (?:video|account|profile|post|playlist|content)|is private|use --(?:username|cookies)"),
    ("geo", r"geo|your (?:country|location|region)"),
    ("gone", r"unavailable|removed|deleted|not found|no longer|does not exist|terminated"),
    ("format", r"requested format|ffmpeg|unsupported features"),
)


class Failure(Exception):
    """Why there is no file, as one of the parent's words."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _Silent:
    """Takes yt-dlp's messages, which quote URLs with their tokens, and drops them."""

    def debug(self, message: str) -> None:
        del message

    info = warning = error = debug


class Reader:
    """Extracts and downloads what is behind one URL.

    :param ask: `url`, `proxy` (with its password), `max_bytes`, `idle_s`.
    :param folder: takes the file.
    """

    def __init__(self, ask: Mapping[str, Any], folder: Path) -> None:
        yt_globals.plugin_dirs.value = []
        yt_globals.all_plugins_loaded.value = True
        FFmpegPostProcessor._ffmpeg_location.set(_NOWHERE)  # noqa: SLF001 - has no public name
        self._url: str = ask["url"]
        self._folder = folder
        self._ytdl = yt_dlp.YoutubeDL(_options(ask, folder))

    def extract(self) -> dict[str, Any] | None:
        """What is needed to download the one video behind the URL, and what is said about it; None: there is none.

        :raises Failure: there is more than one, or it cannot be had.
        """
        try:
            return self._described(self._one(self._ytdl.extract_info(self._url, download=False)))
        except Exception as exc:  # noqa: BLE001 - what thousands of extractors raise is for the parent's sentences
            code = code_of(exc)
        # Behind the clause: an error of what comes next has nothing to do with this one, nor has its context.
        if code == "no-video":
            return None
        raise Failure(code)

    def _described(self, found: dict[str, Any]) -> dict[str, Any]:
        if found.get("is_live") or found.get("live_status") in _LIVE:
            raise Failure("live")
        chosen = (found.get("requested_downloads") or [found])[0]
        kept = {name: found[name] for name in (*_ABOUT, *_ORIGIN) if found.get(name) is not None}
        how = {name: chosen[name] for name in _HOW if chosen.get(name) is not None}
        if "url" not in how:
            raise Failure("no-video")
        if "duration" not in kept and isinstance(how.get("fragments"), list):
            kept["duration"] = sum(fragment.get("duration") or 0 for fragment in how["fragments"])
        told = plain(self._ytdl.sanitize_info({**kept, **how}))
        if not isinstance(told, dict):
            raise TypeError("no description")
        return told

    def _one(self, found: dict[str, Any] | None) -> dict[str, Any]:
        for _ in range(_LONGEST_PLAYLIST):
            if found is None:
                raise Failure("no-video")
            if found.get("_type", "video") != "playlist":
                return found
            entries = [entry for entry in found.get("entries") or () if entry]
            if len(entries) != 1:
                raise Failure("playlist" if entries else "no-video")
            (entry,) = entries
            if entry.get("_type", "video") == "video":
                return dict(entry)
            found = self._ytdl.extract_info(entry["url"], download=False, ie_key=entry.get("ie_key"))
        raise Failure("playlist")

    def download(self, info: dict[str, Any]) -> str:
        """Download it into the folder; the file's extension.

        :raises Failure: it cannot be had.
        """
        about = {name: value for name, value in info.items() if name not in _HOW}
        one = {name: value for name, value in info.items() if name in _HOW}
        try:
            self._ytdl.process_ie_result({**about, "formats": [one]}, download=True)
        except Exception as exc:  # noqa: BLE001 - likewise
            code = code_of(exc)
            raise Failure("expired" if code == "gone" else code) from None
        files = [path for path in self._folder.glob(f"{_NAME}.*") if path.suffix[1:].isalnum()]
        if len(files) != 1:
            raise Failure("size" if not files else "format")
        return files[0].suffix[1:]

    def caption(self) -> dict[str, str]:
        """What the page says about itself, by its first 2 MiB.

        :raises Failure: it cannot be had.
        """
        try:
            answer = self._ytdl.urlopen(self._url)
            html = decoded(answer.read(_LONGEST_PAGE), answer.headers.get_content_charset())
            return {name: str(plain(text)) for name, text in caption_of(html).items()}
        except Exception as exc:  # noqa: BLE001 - likewise
            raise Failure(code_of(exc)) from None


def code_of(error: BaseException) -> str:
    """The parent's word for an error of yt-dlp: by its class where that tells, else by what it says."""
    chain = list(_chain(error))
    if any(isinstance(one, UnsupportedError) for one in chain):
        return "no-video"
    if known := next((code for one in chain if (code := _of_class(one))), None):
        return known
    if any(isinstance(one, RequestError | TimeoutError | ConnectionError) for one in chain):
        return "network"
    said = " ".join(str(one) for one in chain if isinstance(one, YoutubeDLError))
    return next((code for code, pattern in _SAID if re.search(pattern, said, re.IGNORECASE)), "unknown")


def _of_class(error: BaseException) -> str | None:
    match error:
        case Failure():
            return error.code
        case HTTPError():
            return _status(error.status)
        case GeoRestrictedError():
            return "geo"
        case OSError() if error.errno == errno.EFBIG:  # the limit on this process's files
            return "size"
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "disk"
    return None


def _status(status: int) -> str:
    match status:
        case 403:
            return "forbidden"
        case 401 | 407:
            return "login"
        case 404 | 410:
            return "gone"
        case 429 | 408 | 425:
            return "busy"
    return "network" if status >= 500 else "refused"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those behind it: yt-dlp wraps them in fields of its own."""
    seen: set[int] = set()
    queue = [error]
    while queue and len(seen) < 20:
        one = queue.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        info = getattr(one, "exc_info", None)
        queue += [info[1] if info else None, getattr(one, "cause", None), one.__cause__, one.__context__]


def _options(ask: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {
        "proxy": ask["proxy"],
        "outtmpl": {"default": f"{_NAME}.%(ext)s"},
        "paths": {"home": str(folder), "temp": str(folder)},
        "format": _FORMAT,
        "max_filesize": ask["max_bytes"],
        "socket_timeout": ask["idle_s"],
        "retries": 2,
        "extractor_retries": 1,
        "fragment_retries": 2,
        "file_access_retries": 0,
        "skip_unavailable_fragments": False,  # a hole in a recording is an error, not a shorter recording
        "concurrent_fragment_downloads": 1,
        "noplaylist": True,
        "playlist_items": "1-2",
        "extract_flat": "in_playlist",
        "external_downloader": "native",
        "hls_prefer_native": True,
        "ffmpeg_location": _NOWHERE,
        "fixup": "never",
        "postprocessors": [],
        "nopart": True,
        "updatetime": False,
        "cachedir": False,
        "cookiefile": None,
        "cookiesfrombrowser": None,
        "usenetrc": False,
        "netrc_cmd": None,
        "enable_file_urls": False,
        "allow_unplayable_formats": False,
        "geo_bypass": False,
        "js_runtimes": {},
        "remote_components": [],
        "check_formats": False,
        "writesubtitles": False,
        "writethumbnail": False,
        "writeinfojson": False,
        "ignoreerrors": False,
        "quiet": True,
        "noprogress": True,
        "no_warnings": True,
        "color": {"stderr": "never", "stdout": "never"},
        "logger": _Silent(),
    }
