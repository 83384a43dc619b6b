"""A stand-in for the job core in tests of a stage's handler: lends a `Run`, grants or denies, and remembers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from millrace.errors import Denied, Refusal
from millrace.models.port import Paid
from millrace.money import MicroUSD

A = TypeVar("A", bound=BaseModel)


@dataclass(frozen=True)
class Call:
    """One call that a handler asked for; `cost` is None when it was denied or did not end well."""

    call_no: int
    model: str
    hold: MicroUSD
    cost: MicroUSD | None


class FakeRun:
    """Grants every call, or denies those whose hold is above `cap`; implements `millrace.stream.stage.Run`.

    Like the real core it answers a call that was paid before (`call_no`) without calling again, also over several
    runs when `paid` is handed on, and keeps answers as JSON. `kept` is the checkpoint, as JSON too.
    """

    def __init__(
        self, *, cap: MicroUSD | None = None, paid: dict[int, str] | None = None, kept: str | None = None
    ) -> None:
        self.calls: list[Call] = []
        self.progressed: list[float] = []
        self.kept = kept
        self.paid: dict[int, str] = {} if paid is None else paid
        self._cap = cap
        self.in_bulk = False

    @property
    def cost(self) -> MicroUSD:
        """What this run's calls cost in all."""
        return MicroUSD(sum(call.cost or 0 for call in self.calls))

    async def call(
        self,
        call_no: int,
        answer_type: type[A],
        *,
        model: str,
        hold: MicroUSD,
        do: Callable[[], Awaitable[Paid[A]]],
        local: bool = False,  # noqa: ARG002 - nothing is cut off here
    ) -> A:
        """Do the call when it is within the cap.

        :raises Denied: when it is not.
        """
        if call_no in self.paid:
            return answer_type.model_validate_json(self.paid[call_no])
        if self._cap is not None and hold > self._cap:
            self.calls.append(Call(call_no, model, hold, None))
            refusal = Refusal("hour:test", hold, self._cap, self._cap, None)
            raise Denied(refusal, "the test's cap has no room for this call")
        try:
            paid = await do()
        except BaseException:
            self.calls.append(Call(call_no, model, hold, None))
            raise
        self.calls.append(Call(call_no, model, hold, paid.cost))
        self.paid[call_no] = paid.answer.model_dump_json()
        return answer_type.model_validate_json(self.paid[call_no])

    async def progress(self, fraction: float) -> None:
        """Remember how far the work said it was."""
        self.progressed.append(fraction)

    async def checkpoint(self, state: BaseModel) -> None:
        """Keep it at once."""
        self.kept = state.model_dump_json()

    def resume(self, kind: type[A]) -> A | None:
        """What was kept."""
        return None if self.kept is None else kind.model_validate_json(self.kept)
