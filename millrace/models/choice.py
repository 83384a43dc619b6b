"""The model that a stage works with, and those that a command may name instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from millrace.errors import ConfigurationError, Poison

M = TypeVar("M")
N = TypeVar("N")


class Models(Generic[M]):
    """A stage's own model by its name, and others, each made when it is first asked for.

    :param make: makes the model of a name, or raises ConfigurationError; None where there is only the own one.
    """

    def __init__(self, name: str, own: M, make: Callable[[str], M] | None = None) -> None:
        self._own = name
        self._made = {name: own}
        self._make = make

    def map(self, wrap: Callable[[M], N]) -> Models[N]:
        """The same models, each inside something."""
        make = self._make
        return Models(self._own, wrap(self._made[self._own]), None if make is None else lambda name: wrap(make(name)))

    def need(self, *names: str) -> None:
        """Make models that settings name, so that what is wrong with them is known at the start.

        :raises ConfigurationError: one cannot be used here.
        """
        for name in names:
            if name not in self._made:
                if self._make is None:
                    raise ConfigurationError(f"only the model {self._own} is here, not {name}")
                self._made[name] = self._make(name)

    def of(self, name: str | None) -> M:
        """The model of a name, the stage's own for None.

        :raises Poison: it cannot be used here; the sentence says why.
        """
        wanted = self._own if name is None else name
        if wanted not in self._made:
            if self._make is None:
                raise Poison(
                    f"only the model {self._own} is here, not {wanted}: it is chosen in the agent's settings"
                )
            try:
                self._made[wanted] = self._make(wanted)
            except ConfigurationError as exc:
                raise Poison(str(exc)) from exc
        return self._made[wanted]
