"""The model that a stage works with, and those that a command may name instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar, get_args

from millrace.errors import ConfigurationError, Poison
from millrace.models.port import Backend

M = TypeVar("M")
N = TypeVar("N")


class Somewhere(Protocol):
    """A model that runs somewhere."""

    @property
    def backend(self) -> str:
        """api; anything else is this machine."""
        ...


P = TypeVar("P", bound=Somewhere)


class Models(Generic[M]):
    """A stage's own model by its name, and others, each made when it is first asked for.

    :param make: makes the model of a name, or raises ConfigurationError; None where there is only the own one.
    :param beside: name of the model that runs elsewhere than the own one, for commands that ask for that; and what
        makes it, or raises ConfigurationError.
    """

    def __init__(
        self,
        name: str,
        own: M,
        make: Callable[[str], M] | None = None,
        *,
        beside: tuple[str, Callable[[], M]] | None = None,
    ) -> None:
        self._own = name
        self._made = {name: own}
        self._make = make
        self._beside = {} if beside is None else dict([beside])

    @property
    def named(self) -> Sequence[str]:
        """Models that settings name: the own one, and that beside it."""
        return (self._own, *self._beside)

    def map(self, wrap: Callable[[M], N], *, beside: tuple[str, Callable[[], N]] | None = None) -> Models[N]:
        """The same models, each inside something, and another one beside them."""
        make = self._make
        wrapped = None if make is None else lambda name: wrap(make(name))
        return Models(self._own, wrap(self._made[self._own]), wrapped, beside=beside)

    def need(self, *names: str) -> None:
        """Make models that settings name, so that what is wrong with them is known at the start.

        :raises ConfigurationError: one cannot be used here.
        """
        for name in names:
            if name not in self._made:
                self._made[name] = self._made_by_name(name)

    def of(self, name: str | None) -> M:
        """The model of a name, the stage's own for None.

        :raises Poison: it cannot be used here; the sentence says why.
        """
        wanted = self._own if name is None else name
        if wanted not in self._made:
            try:
                self._made[wanted] = self._made_by_name(wanted)
            except ConfigurationError as exc:
                raise Poison(str(exc)) from exc
        return self._made[wanted]

    def _made_by_name(self, name: str) -> M:
        if name in self._beside:
            return self._beside[name]()
        if self._make is None:
            raise ConfigurationError(
                f"only the model {self._own} is here, not {name}: it is chosen in the agent's settings"
            )
        return self._make(name)


def asked_for(models: Models[P], model: str | None, backend: str | None, usual: str | None = None) -> P:
    """The model that a command asks for by its name, by where it shall run, by both or by neither.

    :param usual: name of the model where a command names none; the stage's own by default.
    :raises Poison: there is no such model here; the sentence says why.
    """
    if backend is None:
        return models.of(model or usual)
    if backend not in get_args(Backend):
        raise Poison(f"a backend is {' or '.join(get_args(Backend))}, not {backend}")
    names = [model] if model is not None else [usual, *models.named]
    for name in names:
        found = models.of(name)
        if (found.backend == "api") == (backend == "api"):
            return found
    if model is not None:
        raise Poison(f"the model {model} does not run where the command wants it ({backend}): leave one of them out")
    raise Poison(
        f"this stage has no model with the backend {backend}: its settings name {' and '.join(models.named)}"
    )
