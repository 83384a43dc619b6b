"""An agent: a stage as a program.

python -m <module>                   works until it is stopped
python -m <module> replay OPTIONS    lets the stage work on old events again, for `millrace replay <stage>`
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from millrace.models.settings import ChildSettings
from millrace.settings import StageSettings, WorksOn
from millrace.startup import close_to_others, settings_or_exit
from millrace.stream.app import StageApp
from millrace.stream.connect import Resources
from millrace.stream.stage import E, R, StageHandler, StageSpec
from millrace.stream.worker import run

S = TypeVar("S", bound=StageSettings)
REPLAY = "replay"


@dataclass(frozen=True)
class Agent(Generic[S, E, R]):
    """What a stage's program is made of.

    `build` makes the handler, with its adapters open, from the settings and what the core lends.
    """

    spec: StageSpec
    settings: type[S]
    build: Callable[[S, Resources], AbstractAsyncContextManager[StageHandler[E, R]]]

    def app(self, settings: S) -> StageApp[E, R]:
        """The Faust application; nothing is connected before it is opened."""
        works_on: WorksOn = settings.works_on if isinstance(settings, ChildSettings) else "both"
        return StageApp(self.spec, settings, lambda resources: self.build(settings, resources), works_on=works_on)

    def from_environment(self) -> StageApp[E, R]:
        """The same, with the settings of the environment; ends the process with a sentence if they are not right."""
        return self.app(settings_or_exit(self.settings))

    def main(self) -> NoReturn:
        """Run as the command line says; ends the process."""
        match sys.argv[1:]:
            case []:
                run(self.from_environment())
            case [word, *options] if word == REPLAY:
                # Here, because an agent that works needs none of it.
                from millrace.stream.replay.command import main as replay  # noqa: PLC0415

                close_to_others()
                replay(self.spec, self.settings, self.build, options)
            case _:
                sys.stderr.write(
                    f"{sys.argv[0]}: give nothing; to let the stage work on old events again use `millrace replay`\n"
                )
                raise SystemExit(2)
