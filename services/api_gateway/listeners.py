"""Who watches shares, and what waits to be sent to each. Pure."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final, Literal

MOST_WAITING: Final = 500
"""Shares of which the newest state waits for a slow reader; more, and it has to come again."""


@dataclass(frozen=True)
class Told:
    """One server-sent event: `mark` is its id, which a reader who comes again names; `data` is JSON on one line."""

    event: Literal["share", "gone"]
    data: str
    mark: str

    def encoded(self) -> bytes:
        """As it is sent (HTML standard, 9.2)."""
        return f"event: {self.event}\nid: {self.mark}\ndata: {self.data}\n\n".encode()


@dataclass(eq=False)
class Listener:
    """A reader of one share, or of all shares of an owner (`share_id` None).

    What waits is the newest state of each share, so a reader that is slow skips states and holds no more than
    `MOST_WAITING` of them: then it is closed, and reads on from its last mark when it has connected again.
    """

    owner: str
    share_id: str | None
    closed: bool = False
    _known: str | None = None
    _waiting: dict[str, Told] = field(default_factory=dict)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, share_id: str, told: Told) -> None:
        """Let a state wait instead of any older one of the same share; of one share, if it is another than before."""
        if self.share_id is not None and told.mark == self._known:
            return
        self._known = told.mark
        self._waiting.pop(share_id, None)
        self._waiting[share_id] = told
        if len(self._waiting) > MOST_WAITING:
            self._waiting.clear()
            self.closed = True
        self._woken.set()

    def knows(self, mark: str) -> None:
        """The reader has this state, unless a newer one waits."""
        if not self._waiting:
            self._known = mark

    def close(self) -> None:
        """Nothing more will come."""
        self.closed = True
        self._woken.set()

    def take(self) -> list[Told]:
        """What waits, in the order in which it came."""
        taken = list(self._waiting.values())
        self._waiting.clear()
        self._woken.clear()
        return taken

    async def wait(self) -> None:
        """Until something waits, or nothing more will."""
        if not self.closed:
            await self._woken.wait()
