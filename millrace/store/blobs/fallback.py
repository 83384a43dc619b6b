"""The media store over S3 with a local folder: for what is to stay here, and for what S3 does not take at present.

What S3 does not take goes to the folder with a note (`markers`); a healer (`heal`) moves it once S3 answers again.
Content is looked for in the folder first, then in S3, so a key can be read wherever its bytes are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from millrace.clock import Clock, SystemClock
from millrace.errors import MillraceError, Unavailable
from millrace.store.blobs.breaker import Breaker
from millrace.store.blobs.durable import writing
from millrace.store.blobs.keys import drawn, is_temporary, stored_at
from millrace.store.blobs.local import LocalBlobStore
from millrace.store.blobs.markers import Markers
from millrace.store.blobs.part import ByteRange, Part
from millrace.store.blobs.port import (
    NOTHING,
    About,
    BlobMissing,
    BlobStore,
    LocalFailure,
    NotHereYet,
    Progress,
    Refused,
)

if TYPE_CHECKING:
    from millrace.store.blobs.s3 import S3BlobStore

log = logging.getLogger(__name__)
T = TypeVar("T")

ON_ITS_WAY: Final = timedelta(hours=1)
"""By default; an outage of S3 that lasts longer is rare, and media that has expired is to be said to have."""
_ASK_AGAIN_S: Final = 30.0
"""Healers look every ten seconds; S3 is tried again within a minute."""
_LOOK_EVERY_S: Final = 0.05
_ELSEWHERE: Final = "S3 does not have it: it may be on its way from another machine's folder"


class FallbackBlobStore:
    """S3 and a folder behind one port.

    :param percent: None sends everything to S3; a number that share of temporary media, and the rest to the folder.
    :param on_its_way: so long fetched media that S3 does not have may still lie in another machine's folder.
    """

    def __init__(
        self,
        local: LocalBlobStore,
        s3: S3BlobStore,
        *,
        percent: int | None = None,
        breaker: Breaker | None = None,
        clock: Clock | None = None,
        on_its_way: timedelta = ON_ITS_WAY,
    ) -> None:
        self.local = local
        self.s3 = s3
        self.markers = Markers(local.root)
        self.breaker = breaker or Breaker()
        self._percent = percent
        self._clock = clock or SystemClock()
        self._on_its_way = on_its_way

    async def put_file(self, key: str, path: Path, about: About = NOTHING, progress: Progress | None = None) -> None:
        """Upload a file, or copy it into the folder."""
        if not await self._taken_by_s3(key, about, lambda: self.s3.put_file(key, path, about, progress)):
            await self.local.put_file(key, path, about, progress)

    async def put_bytes(self, key: str, content: bytes, about: About = NOTHING) -> None:
        """Upload bytes, or write them into the folder."""
        if not await self._taken_by_s3(key, about, lambda: self.s3.put_bytes(key, content, about)):
            await self.local.put_bytes(key, content, about)

    async def exists(self, key: str) -> bool:
        """Whether it is here or in S3.

        :raises Unavailable: it is not here, and S3 does not answer or is left alone.
        """
        if await self.local.exists(key):
            return True
        if not self.breaker.lets_through():
            raise Unavailable("S3 does not work at present: it is tried again")
        with self.judged():
            return await self.s3.exists(key)

    async def read(self, key: str) -> bytes:
        """The bytes, from here or from S3.

        :raises Unavailable: it is young media that may be in the folder of another machine, or S3 does not answer.
        """
        if await self.local.exists(key):
            with suppress(BlobMissing):  # healed since
                return await self.local.read(key)
        try:
            return await self.s3.read(key)
        except BlobMissing as missing:
            if self.goes_to_s3(key):
                raise self._not_in_s3(key, missing) from None
            return await self.local.read(key)  # which knows whether its disk is there at all

    @asynccontextmanager
    async def local_copy(self, key: str, progress: Progress | None = None) -> AsyncIterator[Path]:
        """The file of the folder, or one downloaded from S3."""
        async with AsyncExitStack() as stack:
            yield await self._entered(stack, key, lambda store: store.local_copy(key, progress))

    @asynccontextmanager
    async def part(self, key: str, wanted: ByteRange) -> AsyncIterator[Part]:
        """A part of the file of the folder, or of the object in S3."""
        async with AsyncExitStack() as stack:
            yield await self._entered(stack, key, lambda store: store.part(key, wanted))

    async def delete(self, key: str) -> None:
        """Delete it in both places; a healer that is moving a file just now is waited for."""
        with writing():
            async with self.moving():
                await asyncio.to_thread(self.markers.remove, key)
                await self.local.delete(key)
                await self.s3.delete(key)

    async def url(self, key: str) -> str:
        """Where it is now."""
        return await (self.local if await self.local.exists(key) else self.s3).url(key)

    async def presigned(self, key: str, expires: timedelta) -> str | None:
        """A URL of S3; None for what is in the folder."""
        return await (self.local if await self.local.exists(key) else self.s3).presigned(key, expires)

    def goes_to_s3(self, key: str) -> bool:
        """Where a key belongs."""
        return self._percent is None or (is_temporary(key) and drawn(key, self._percent))

    @asynccontextmanager
    async def moving(self) -> AsyncIterator[None]:
        """For as long as it lasts nobody else, of any process, moves or deletes what is in the folder."""
        while True:
            with self.markers.sole_mover() as alone:
                if alone:
                    yield
                    return
            await asyncio.sleep(_LOOK_EVERY_S)

    @contextmanager
    def judged(self) -> Iterator[None]:
        """What comes of a request to S3, for whoever asks whether to make one. Who refuses answers at once."""
        try:
            yield
        except Refused:
            self.breaker.succeeded()
            raise
        except LocalFailure:
            self.breaker.undecided()
            raise
        except Unavailable:
            self.breaker.failed()
            raise
        self.breaker.succeeded()

    async def _taken_by_s3(self, key: str, about: About, put: Callable[[], Awaitable[None]]) -> bool:
        """False when it has to go to the folder; if it belongs to S3, that is noted then."""
        if not self.goes_to_s3(key):
            return False
        if self.breaker.lets_through():
            try:
                with self.judged():
                    await put()
            except LocalFailure:  # the folder could not copy it either
                raise
            except Unavailable as exc:
                log.warning("%s goes to the local folder until S3 takes it: %s", key, exc)
            else:
                return True
        await asyncio.to_thread(self.markers.mark, key, about)
        return False

    def _not_in_s3(self, key: str, missing: BlobMissing) -> MillraceError:
        """What to say of a key that belongs to S3 and is not there: S3 may have been away when it was put."""
        if not is_temporary(key):
            return NotHereYet(
                f"{_ELSEWHERE}, or lost; share it again if it does not come", retry_after_s=_ASK_AGAIN_S
            )
        at = stored_at(key)
        if at is not None and abs(self._clock.now() - at) < self._on_its_way:
            return Unavailable(_ELSEWHERE)
        return missing

    async def _entered(
        self, stack: AsyncExitStack, key: str, lend: Callable[[BlobStore], AbstractAsyncContextManager[T]]
    ) -> T:
        """What the folder lends, or S3 where the folder has nothing."""
        if await self.local.exists(key):
            with suppress(BlobMissing):
                return await stack.enter_async_context(lend(self.local))
        try:
            return await stack.enter_async_context(lend(self.s3))
        except BlobMissing as missing:
            if self.goes_to_s3(key):
                raise self._not_in_s3(key, missing) from None
            return await stack.enter_async_context(lend(self.local))
