"""Parts of what is kept, as a request names them (RFC 9110, 14.1.2): which bytes those are. Pure."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from millrace.errors import Poison

_HEADER: Final = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")


class BeyondEnd(Poison):
    """What is kept has `size` bytes, and none of them is in the part."""

    def __init__(self, size: int) -> None:
        super().__init__(f"there are {size} bytes only")
        self.size = size


@dataclass(frozen=True)
class ByteRange:
    """From the byte `first` to `last`, both included; without `last` to the end, without `first` the last so many."""

    first: int | None
    last: int | None

    @property
    def header(self) -> str:
        """As the header Range has it."""
        return "bytes={}-{}".format(*("" if number is None else number for number in (self.first, self.last)))

    def within(self, size: int) -> tuple[int, int]:
        """The first byte of it, and the one behind its last, of so many.

        :raises BeyondEnd: there is none.

        >>> ByteRange(None, 5).within(100), ByteRange(90, None).within(100), ByteRange(90, 200).within(100)
        ((95, 100), (90, 100), (90, 100))
        """
        start = self.first if self.first is not None else max(0, size - (self.last or 0))
        stop = size if self.first is None or self.last is None else min(size, self.last + 1)
        if start >= stop:
            raise BeyondEnd(size)
        return start, stop


@dataclass(frozen=True)
class Part:
    """Bytes from `start` to, not including, `stop` of `size`, which `chunks` gives once."""

    start: int
    stop: int
    size: int
    chunks: AsyncIterator[bytes]


def only_range(header: str | None) -> ByteRange | None:
    """The range of a header that has one; None for none, for several, and for what is none.

    >>> only_range("bytes=0-99"), only_range("bytes=0-1,5-6"), only_range("bytes=9-1")
    (ByteRange(first=0, last=99), None, None)
    """
    found = _HEADER.fullmatch(header or "")
    if found is None:
        return None
    first, last = (int(digits) if digits else None for digits in found.groups())
    if (first is None and not last) or (first is not None and last is not None and last < first):
        return None
    return ByteRange(first, last)
