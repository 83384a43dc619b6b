"""Money that is held for one call, and what the ledger is told when the call is over.

    granted = await ledger.reserve(...)
    if isinstance(granted, Refusal): ...
    async with granted as hold:
        answer = await call()
        hold.settle(cost_of(answer))

| the block is left | the ledger is told |
| --- | --- |
| after `settle`, in whatever way | settle, with that amount |
| by `Retryable` or `Poison`: nothing was paid | release |
| by any other exception, a cancellation included | unknown |
| without a word about the cost | unknown |

A process that dies tells nothing: the hold runs out and counts as unconfirmed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from millrace.errors import Poison, Retryable
from millrace.ids import RequestId
from millrace.ledger.telling import Telling
from millrace.money import MicroUSD


class Ends(Protocol):
    """The ways in which a hold ends."""

    async def settle(
        self, request_id: RequestId, *, account: str, scope: str, actual: MicroUSD, linger: bool = False
    ) -> None:
        """Tell what the call really cost; returns when Kafka has confirmed the message.

        :param linger: True: nobody waits for it, and it may wait a moment for others to go out with.
        """
        ...

    async def release(self, request_id: RequestId, *, account: str, scope: str) -> None:
        """Give the hold back: nothing was called, or nothing was billed."""
        ...

    async def unknown(self, request_id: RequestId, *, account: str, scope: str) -> None:
        """Say that nobody knows whether the call was billed: it stays charged as unconfirmed."""
        ...


@dataclass(eq=False)
class Granted:
    """The money is held: make the call inside `async with`, once, or tell the ledger its end yourself.

    `amount` in micro-US-dollars; `warning` says which cap it is above that only warns.

    Leaving the block waits until Kafka has the message, for a second at most; later than that it is sent in the
    background. A message that is lost is logged, and hides no exception of the block: the hold then runs out and
    counts as unconfirmed.
    """

    request_id: RequestId
    account: str
    scope: str
    amount: MicroUSD
    warning: str | None = None
    ends: Ends = field(repr=False, kw_only=True)
    telling: Telling = field(repr=False, kw_only=True)
    _entered: bool = field(default=False, init=False, repr=False)
    _actual: MicroUSD | None = field(default=None, init=False, repr=False)

    def settle(self, actual: MicroUSD) -> None:
        """Say what the call cost, in micro-US-dollars; the ledger hears it at the end of the block.

        The last word counts. More than was held is recorded as overrun.

        :raises ValueError: a negative amount.
        """
        if actual < 0:
            raise ValueError("a call costs at least 0")
        self._actual = actual

    async def __aenter__(self) -> Self:
        """Begin the call.

        :raises RuntimeError: a second time: one hold pays for one call.
        """
        if self._entered:
            raise RuntimeError(f"the hold {self.request_id} has been used already")
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell the ledger how the call ended."""
        del kind, trace
        request, account, scope = self.request_id, self.account, self.scope
        if self._actual is not None:
            message = self.ends.settle(request, account=account, scope=scope, actual=self._actual)
        elif isinstance(error, Retryable | Poison):
            message = self.ends.release(request, account=account, scope=scope)
        else:
            message = self.ends.unknown(request, account=account, scope=scope)
        lost = f"{self.request_id}: the ledger was not told the end of a call; the hold counts until it runs out"
        await self.telling.send(message, f"{lost}, then as unconfirmed")
