"""Which records a replay reads. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from millrace.errors import ConfigurationError
from millrace.kafka.records import Partition
from millrace.times import moment_of

_RANGE: Final = re.compile(r"(?P<topic>[^:]+):(?P<partition>\d{1,6}):(?P<first>\d{1,18})-(?P<last>\d{1,18})")


@dataclass(frozen=True)
class Stretch:
    """Offsets of one partition, from `start` to before `stop`; the replay has published those before `next`."""

    topic: str
    partition: int
    start: int
    stop: int
    next: int

    @property
    def at(self) -> Partition:
        """The partition."""
        return Partition(self.topic, self.partition)

    def moved(self, offset: int) -> Stretch:
        """With everything before an offset published."""
        return replace(self, next=max(self.next, offset))


def since(text: str, now: datetime) -> datetime:
    """A moment as somebody typed it; see `millrace.times`.

    :raises ConfigurationError: it is none.
    """
    try:
        return moment_of(text, now)
    except ValueError as exc:
        raise ConfigurationError(
            f"{text!r} is no moment: give one like 2026-11-27T14:30 (UTC), or how long ago, like 24h or 7d."
        ) from exc


def ranges(texts: Sequence[str], topics: Collection[str]) -> list[Stretch]:
    """Offsets as somebody typed them: `TOPIC:PARTITION:FROM-TO`, both ends included.

    :param topics: those that the stage reads events of.
    :raises ConfigurationError: one is not of this form, or of another topic, or two are of the same partition.
    """
    found: dict[Partition, Stretch] = {}
    for text in texts:
        parts = _RANGE.fullmatch(text)
        if parts is None or int(parts["first"]) > int(parts["last"]):
            raise ConfigurationError(f"{text!r} is no range of offsets: give TOPIC:PARTITION:FROM-TO.")
        if parts["topic"] not in topics:
            raise ConfigurationError(
                f"The stage reads no events of {parts['topic']!r}: it reads {', '.join(sorted(topics))}."
            )
        first = int(parts["first"])
        stretch = Stretch(parts["topic"], int(parts["partition"]), first, int(parts["last"]) + 1, first)
        if stretch.at in found:
            raise ConfigurationError(f"Two ranges are of {stretch.topic}:{stretch.partition}: give one of each.")
        found[stretch.at] = stretch
    return list(found.values())
