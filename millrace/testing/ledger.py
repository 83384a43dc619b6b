"""A cost ledger in memory, for tests of whatever asks before it spends; implements `millrace.ledger.port.Ledger`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from millrace.errors import Refusal, Unavailable
from millrace.ids import RequestId
from millrace.ledger.grant import Granted
from millrace.ledger.telling import Telling
from millrace.money import MicroUSD


def _go_on() -> None:
    """Nothing happens between the steps."""


@dataclass(frozen=True)
class Asked:
    """One request for money."""

    request_id: RequestId
    account: str
    scope: str
    amount: MicroUSD
    model: str | None


class FakeLedger:
    """Grants, or gives `answer` to every request, or refuses what is above `cap` micro-US-dollars.

    `holds` has the amounts that were granted and `ended` what became of them (`settled 70`, `released`, `unknown`),
    by request id; `told` has every operation with its amount, in order, refused ones too.

    :param warning: what every grant warns of.
    :param step: called before and after everything that is written down; a test may let the process die there.
    """

    def __init__(
        self,
        answer: Refusal | Unavailable | None = None,
        *,
        cap: int | None = None,
        warning: str | None = None,
        step: Callable[[], None] = _go_on,
    ) -> None:
        self.answer = answer
        self.cap = cap
        self.warning = warning
        self.step = step
        self.asked: list[Asked] = []
        self.holds: dict[str, int] = {}
        self.ended: dict[str, str] = {}
        self.told: list[tuple[str, int]] = []
        self.telling = Telling()

    async def reserve(
        self,
        request_id: RequestId,
        *,
        account: str,
        scope: str,
        amount: MicroUSD,
        hold_for: timedelta,
        share_id: str | None = None,
        model: str | None = None,
        work_key: str | None = None,
    ) -> Granted | Refusal:
        """See `Ledger.reserve`.

        :raises Unavailable: when that is the answer.
        """
        del hold_for, share_id, work_key
        self.step()
        self.asked.append(Asked(request_id, account, scope, amount, model))
        self.told.append(("reserve", amount))
        if isinstance(self.answer, Unavailable):
            raise self.answer
        if self.answer is not None:
            return self.answer
        if self.cap is not None and amount > self.cap:
            return Refusal("hour:test", amount, MicroUSD(self.cap), MicroUSD(self.cap), None)
        self.holds[request_id] = amount
        self.step()
        return Granted(request_id, account, scope, amount, self.warning, ends=self, telling=self.telling)

    async def settle(
        self, request_id: RequestId, *, account: str, scope: str, actual: MicroUSD, linger: bool = False
    ) -> None:
        """See `Ledger.settle`."""
        del account, scope, linger
        self._end(request_id, "settle", f"settled {actual}", actual)

    async def release(self, request_id: RequestId, *, account: str, scope: str) -> None:
        """See `Ledger.release`."""
        del account, scope
        self._end(request_id, "release", "released", 0)

    async def unknown(self, request_id: RequestId, *, account: str, scope: str) -> None:
        """See `Ledger.unknown`."""
        del account, scope
        self._end(request_id, "unknown", "unknown", 0)

    def _end(self, request_id: RequestId, op: str, how: str, amount: int) -> None:
        self.step()
        self.ended[request_id] = how
        self.told.append((op, amount))
        self.step()
