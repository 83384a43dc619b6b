"""What many jobs wait for at once: room in a budget, a provider that answers. One of them tries, the rest follow it.

A worker asks the ledger, or calls a model, past an open gate only; a closed one stops newcomers without a question.
`millrace.store.waiting` has the gates, and lets what waits behind them through.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace

from millrace.contracts.events import StageName
from millrace.errors import Denied, Paused, Refusal
from millrace.money import MicroUSD, format_usd
from millrace.store.gate_names import MODEL, budget_gate, model_gate
from millrace.store.waiting import ShutGate, WaitingStore
from millrace.stream.breaker import DOWN_AFTER, pause


def refusal_sentence(refusal: Refusal) -> str:
    """Why the ledger said no, with the amounts and when there will be room."""
    return f"needs up to {format_usd(refusal.needed_micro_usd)}, but {what_is_left(refusal)}"


def what_is_left(refusal: Refusal) -> str:
    """What is left of the cap that refused, and when there will be room."""
    when = (
        f"there will be room at {refusal.room_at:%Y-%m-%d %H:%M} UTC" if refusal.room_at else "never under this cap"
    )
    return (
        f"{format_usd(refusal.left_micro_usd)} of the {format_usd(refusal.cap_micro_usd)} cap {refusal.cap} is left; "
        f"{when}"
    )


class Gates:
    """The closed gates of a stage as a worker last saw them, and how often each model has failed it."""

    def __init__(self, stage: StageName, store: WaitingStore) -> None:
        self.stage = stage
        self._store = store
        self._shut: dict[str, ShutGate] = {}
        self._failures: dict[str, int] = defaultdict(int)
        self.moved = asyncio.Event()
        """Set when somebody got through here, so that the mover need not wait for its next look."""

    async def look(self) -> None:
        """See which gates are closed; the mover does so every second."""
        before = self._shut
        self._shut = {gate.name: gate for gate in await self._store.shut_gates()}
        for name in before.keys() - self._shut.keys():  # somebody got through, here or elsewhere
            self._failures.pop(name, None)

    def shut(self, name: str) -> ShutGate | None:
        """A closed gate, or None."""
        return self._shut.get(name)

    async def passed(self, name: str) -> None:
        """Somebody got through: who waits behind may follow."""
        await self._store.passed(name)
        self.moved.set()

    def succeeded(self, name: str) -> None:
        """What is behind the gate works."""
        self._failures.pop(name, None)

    def failed(self, name: str) -> bool:
        """What is behind the gate failed; True when it has to be left alone now."""
        self._failures[name] += 1
        return self._failures[name] >= DOWN_AFTER


class Passage:
    """One job's way past the gates; `let_through` names the one that let it out of its waiting."""

    def __init__(self, gates: Gates, account: str, let_through: str | None) -> None:
        self._gates = gates
        self._budget = budget_gate(account)
        self._ticket = let_through

    @property
    def is_probe(self) -> bool:
        """It was let through the gate of a model that nobody has got through to since."""
        ticket = self._ticket
        return ticket is not None and ticket.startswith(MODEL) and self._gates.shut(ticket) is not None

    def may_call(self, model: str) -> None:
        """Before money is asked for.

        :raises Paused: the model has failed again and again, and is left alone for a while.
        """
        name = model_gate(model)
        gate = self._gates.shut(name)
        if gate is not None and self._ticket != name:
            raise Paused(
                f"{model} does not work at present; it is tried again at {gate.until:%H:%M:%S} UTC", name, gate.until
            )

    def may_ask(self, hold: MicroUSD) -> None:
        """Before the ledger is asked.

        :raises Denied: it has refused as much before, and nothing has changed.
        """
        gate = self._gates.shut(self._budget)
        if (
            gate is None
            or gate.refusal is None
            or self._ticket == self._budget
            or hold <= gate.refusal.left_micro_usd
        ):
            return
        refusal = replace(gate.refusal, needed_micro_usd=hold)
        raise Denied(refusal, refusal_sentence(refusal), asked=False)

    async def granted(self) -> None:
        """The ledger has granted money."""
        await self._through(self._budget)

    async def answered(self, model: str) -> None:
        """The model works."""
        self._gates.succeeded(model_gate(model))
        await self._through(model_gate(model))

    def failed(self, model: str, reason: str, retry_after_s: float | None) -> Paused | None:
        """A call failed; what that means for everybody, None while it may be this job's own fault."""
        name = model_gate(model)
        gate = self._gates.shut(name)
        tried = self._ticket == name
        if not self._gates.failed(name) and not tried:
            return None
        sentence = f"{model} does not work at present ({reason})"
        if gate is not None and not tried:  # another job has closed it meanwhile
            return Paused(sentence, name, gate.until)
        self._ticket = None
        if gate is not None and gate.closed:  # so it has, and this one had been let through before
            return Paused(sentence, name, gate.until, shuts=True)
        return Paused(sentence, name, pause(gate.closings if gate else 0, retry_after_s), shuts=True)

    def refused(self) -> None:
        """The ledger refused, which closes the gate again."""
        if self._ticket == self._budget:
            self._ticket = None

    def handed_over(self) -> None:
        """Another worker goes on with the job, and its way past the gate."""
        self._ticket = None

    async def ended(self) -> None:
        """The job is over; if it never came to the gate's question, somebody else may ask it."""
        if self._ticket is not None:
            await self._through(self._ticket)

    async def _through(self, name: str) -> None:
        if self._ticket == name:
            self._ticket = None
            await self._gates.passed(name)
