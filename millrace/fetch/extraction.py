"""Media behind web pages and playlists: yt-dlp in a sealed child, which reaches nothing but a guarding proxy.

What the child says is a stranger's word: it is read by the rules below and held to lengths, and of yt-dlp's own
messages nothing comes out but which sentence of ours fits (`WHY`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from millrace.errors import MillraceError, Poison, Retryable, Unavailable
from millrace.fetch.addresses import NOT_PUBLIC
from millrace.fetch.proxy import GuardingProxy
from millrace.sealed import LONGEST_LINE, SealedChild, run_sealed, sealed_child

log = logging.getLogger(__name__)

_PROGRAM = Path(__file__).parent / "child" / "program.py"
_COMPILE_S = 60
_BUSY_S = 600.0
"""How long a site is left alone that asks for it: some count every further request against the asker."""
Info = dict[str, JsonValue]
"""What yt-dlp has found out about one video, for the child alone to read: it holds signed URLs."""

WHY: Final[dict[str, tuple[type[Poison | Retryable | Unavailable], str]]] = {
    "playlist": (Poison, "this URL leads to several videos: share the address of one"),
    "live": (Poison, "this is a live stream: share its recording when it has ended"),
    "login": (Poison, "the site shows this video only to people who are signed in"),
    "geo": (Poison, "the site does not show this video in this server's country"),
    "gone": (Poison, "there is nothing at this URL: the video was removed, or never there"),
    "drm": (Poison, "this video is protected against copying (DRM)"),
    "format": (Poison, "this video comes in no form that can be taken: no file with sound that needs no merging"),
    "size": (Poison, "this media is larger than what is taken"),
    "refused": (Poison, "the site does not give this video out"),
    "no-video": (Poison, "there is no video at this URL"),
    "forbidden": (Retryable, "the site refuses to give this video out now (HTTP 403)"),
    "expired": (Retryable, "the address of this video holds no longer"),
    "busy": (Retryable, "the site asks for fewer requests: it has no answer now"),
    "network": (Retryable, "the site of this video does not answer properly"),
    "disk": (Unavailable, "fetched media cannot be written: there is no room for it"),
    "unknown": (Retryable, "this video cannot be read from its site; a newer yt-dlp may know how"),
}
"""Sentence and route for each word of the child."""
_OF_A_REFUSAL = frozenset({"expired", "forbidden", "network", "no-video", "unknown"})
"""What the child may make of a target that the proxy has refused; all other words are the site's own."""


class _Said(BaseModel):
    kernel: int = Field(default=0, ge=0, le=1000)
    breaches: list[Annotated[str, Field(pattern=r"^[a-zA-Z_.]{1,40}$")]] = Field(default=[], max_length=50)


class _Extracted(_Said):
    kind: Literal["extracted"]
    info: Info


class Page(_Said):
    """What a page without a video says about itself."""

    kind: Literal["page"] = "page"
    title: str = Field(default="", max_length=10_000)
    description: str = Field(default="", max_length=10_000)


class _Done(_Said):
    kind: Literal["done"]
    extension: str = Field(pattern=r"^[a-zA-Z0-9]{1,12}$")


class _Failed(_Said):
    kind: Literal["failed"]
    code: str


_ANSWER: TypeAdapter[_Extracted | Page | _Done | _Failed] = TypeAdapter(
    Annotated[_Extracted | Page | _Done | _Failed, Field(discriminator="kind")]
)


class AddressExpired(Retryable):
    """The media's address is refused or gone, or what was extracted earlier leads nowhere: a fresh one may help.

    Such addresses run out, and what comes in their place may look like anything: a page, an empty file, a format that
    nobody knows. So for what was `known` this stands for every failure that a fresh one may mend.
    """


class TooLarge(Poison):
    """The media is larger than what is taken, however it is extracted."""


@dataclass(frozen=True)
class Limits:
    """Of one extraction and download. `extract_s` and `download_s` bound their parts, `idle_s` a server's silence."""

    max_bytes: int
    extract_s: float
    download_s: float
    idle_s: float


class Extraction:
    """A child that has extracted, or was told what another one has extracted, and can download."""

    def __init__(
        self,
        child: SealedChild,
        proxy: GuardingProxy,
        folder: Path,
        limits: Limits,
        found: Info | Page,
        *,
        kernel: int,
        known: bool,
    ) -> None:
        self._child, self._proxy, self._folder, self._limits, self._known = child, proxy, folder, limits, known
        self.found: Final = found
        """The video, or a page that has none."""
        self.kernel: Final = kernel
        """Version of Landlock that fences the child in; 0: none."""

    async def download(self) -> Path:
        """Have the video downloaded; the file.

        :raises AddressExpired: the media's address no longer works, or what was `known` does not.
        :raises Poison: it cannot be had, or the proxy's watch has ended it.
        :raises Retryable: not now.
        """
        await self._child.say(b"go")
        with _anew(self._proxy, known=self._known):
            answer = await _hear(self._child, self._proxy, self._limits.download_s, "downloading this video")
            if not isinstance(answer, _Done):
                raise Retryable("the download of this video gave no answer that can be read")
        await self._child.end()  # before its file is looked at: nobody can exchange it any more
        path = self._folder / f"media.{answer.extension}"
        try:
            is_file = stat.S_ISREG((await asyncio.to_thread(path.lstat)).st_mode)
        except OSError:
            is_file = False
        if not is_file:  # a link could lead to anything of ours
            raise Poison("the download of this video left no file")
        return path


async def compile_extractors() -> None:
    """Compile yt-dlp's modules once, where an installer has not (uv): else every child compiles them for itself.

    Children write nothing there themselves, or one that was taken over could leave code to the next. Where the folder
    cannot be written, children start two seconds later, and that is all.
    """
    spec = find_spec("yt_dlp")
    folders = (spec.submodule_search_locations or ()) if spec is not None else ()
    if not folders:  # not installed: extracting says so
        return
    try:
        await run_sealed((sys.executable, "-I", "-m", "compileall", "-q", *folders), timeout_s=_COMPILE_S)
    except TimeoutError:
        log.warning("compiling yt-dlp takes more than %d s; extractions begin later", _COMPILE_S)


@asynccontextmanager
async def extracting(
    url: str, *, proxy: GuardingProxy, folder: Path, limits: Limits, known: Info | None = None
) -> AsyncIterator[Extraction]:
    """Extract what is behind a URL, in a child that lives until the end of the `async with`.

    :param folder: empty; takes the media.
    :param known: what was extracted earlier: only its media is still to be downloaded.
    :raises Poison: there is nothing that can be had.
    :raises Retryable: not now.
    :raises Unavailable: there is no room for it.
    """
    if "__youtubedl_smuggle" in url:  # how yt-dlp tells itself headers and addresses within URLs
        raise Poison(WHY["no-video"][1])
    ask = {
        "url": url,
        "proxy": proxy.url,
        "proxy_port": proxy.port,
        "parent": os.getpid(),
        "info": known,
        "max_bytes": limits.max_bytes,
        "idle_s": limits.idle_s,
        "cpu_s": int(limits.extract_s + limits.download_s) + 1,
    }
    # -B: nothing is compiled into folders that are closed to it.
    async with sealed_child((sys.executable, "-I", "-B", str(_PROGRAM)), folder=folder) as child:
        await child.say(json.dumps(ask).encode())
        with _anew(proxy, known=known is not None):
            answer = await _hear(child, proxy, limits.extract_s, "looking for a video at this URL")
            if isinstance(answer, _Done):
                raise Retryable("looking for a video at this URL gave no answer that can be read")
        if isinstance(answer, Page) and proxy.led_inside:  # there is a video, and it lies inside
            raise Poison(NOT_PUBLIC)
        if isinstance(answer, Page) and proxy.refusal is not None:
            raise Poison(str(proxy.refusal))
        found = answer.info if isinstance(answer, _Extracted) else answer
        yield Extraction(child, proxy, folder, limits, found, kernel=answer.kernel, known=known is not None)


@contextmanager
def _anew(proxy: GuardingProxy, *, known: bool) -> Iterator[None]:
    """Failures of what was known, as `AddressExpired`: all but too large a file and the proxy's own verdict."""
    try:
        yield
    except (Poison, Retryable) as exc:
        if not known or proxy.ended.done() or proxy.led_inside or isinstance(exc, TooLarge):
            raise
        raise AddressExpired(str(exc)) from None


async def _hear(child: SealedChild, proxy: GuardingProxy, timeout_s: float, doing: str) -> _Extracted | Page | _Done:
    """The child's next answer, unless the proxy ends the fetch before."""
    line = asyncio.ensure_future(child.hear())
    try:
        await asyncio.wait((line, proxy.ended), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if proxy.ended.done():
            raise proxy.ended.result()
        if not line.done():
            raise Retryable(f"{doing} takes more than {timeout_s:.0f} s")
        answer = _read(line, doing)
    finally:
        line.cancel()
    if answer.breaches:
        log.warning("a sealed child was kept from %s", ", ".join(answer.breaches))
    if isinstance(answer, _Failed):
        raise _why(answer.code, proxy)
    return answer


def _read(line: asyncio.Future[bytes | None], doing: str) -> _Extracted | Page | _Done | _Failed:
    try:
        said = line.result()
    except ValueError:  # not chained: they quote what was said
        raise Poison(f"{doing} gave more than the {LONGEST_LINE >> 20} MiB that are read about a video") from None
    if said is None:
        raise Retryable(f"{doing} ended without an answer: its process died")
    try:
        return _ANSWER.validate_json(said)
    except ValidationError:  # likewise
        raise Retryable(f"{doing} gave no answer that can be read") from None


def _why(code: str, proxy: GuardingProxy) -> MillraceError:
    if proxy.led_inside:  # whatever yt-dlp made of that
        return Poison(NOT_PUBLIC)
    if code in _OF_A_REFUSAL and proxy.refusal is not None:
        return Poison(str(proxy.refusal))
    if code in ("forbidden", "expired"):
        return AddressExpired(WHY[code][1])
    if code == "size":
        return TooLarge(WHY[code][1])
    route, sentence = WHY.get(code, WHY["unknown"])
    if code == "busy":
        return Retryable(sentence, retry_after_s=_BUSY_S)
    return route(sentence)
