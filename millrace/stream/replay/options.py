"""What is wished of a replay, as `millrace replay` tells it to the stage's own program. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

RATE: Final = 500.0
"""Most commands a second where nothing else is said."""


class ReplayOptions(BaseModel):
    """One replay's options; on a command line they are one JSON document.

    `since` and `offsets` are as somebody typed them; `shares` None: all of them; `rate` in commands a second; `more`
    are other options of the stage's commands, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: str | None = None
    offsets: tuple[str, ...] = ()
    shares: tuple[str, ...] | None = None
    force: bool = False
    model: str | None = None
    more: dict[str, str] = {}
    dry_run: bool = False
    rate: float = Field(default=RATE, gt=0)
    resume: str | None = None
    as_json: bool = False


def written(options: ReplayOptions) -> str:
    """The word that `read_options` reads."""
    # Not pydantic's: an argument may have bytes that are no UTF-8, and a rate may be infinite.
    return json.dumps(options.model_dump())


def read_options(words: Sequence[str]) -> ReplayOptions:
    """The options that a stage's program was started with.

    :raises ValueError: they are not what `millrace replay` hands over; its text is one sentence.
    """
    alone = "this program takes its options from the command alone, as one JSON document"
    alone = "this program takes its options from the command alone, as one JSON document"
    try:
        (word,) = words
        return ReplayOptions.model_validate(json.loads(word))
    except ValidationError as exc:
        wrong = ", ".join(f"{'.'.join(map(str, one['loc'])) or 'all'}: {one['msg']}" for one in exc.errors())
        raise ValueError(f"{alone} ({wrong}): use `millrace replay`.") from exc
    except ValueError as exc:
        raise ValueError(f"{alone}: use `millrace replay`.") from exc
