"""One event a share, and what doing its work will cost. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from millrace.ids import WorkKey
from millrace.kafka.records import Partition
from millrace.money import ZERO, MicroUSD
from millrace.store.turns import Turn

Basis = Literal["holds", "average", "unknown"]
"""What an estimate rests on: the most that the stage would hold; the average of such work in the past; nothing."""
_EARLIEST = Turn(datetime.min.replace(tzinfo=UTC))


@dataclass(frozen=True)
class Choice:
    """An event that would be worked on once more: where it is, its turn, and which work it asks for.

    `most`: what the stage would hold for it, None where it does not know beforehand.
    """

    share_id: str
    at: Partition
    offset: int
    turn: Turn | None
    work_key: WorkKey
    model: str
    most: MicroUSD | None

    @property
    def age(self) -> tuple[Turn, Partition, int]:
        """Order of events."""
        return self.turn or _EARLIEST, self.at, self.offset


@dataclass
class Chosen:
    """The newest event of each share among those that were read.

    `unreadable` were not decoded, `impossible` can never be worked on.
    """

    only: Collection[str] | None = None
    """Shares that were asked for; None: all."""
    by_share: dict[str, Choice] = field(default_factory=dict)
    unreadable: int = 0
    impossible: int = 0

    def wants(self, share_id: str) -> bool:
        """Whether events of this share are looked at."""
        return self.only is None or share_id in self.only

    def add(self, choice: Choice) -> None:
        """Take an event if it is its share's newest."""
        known = self.by_share.get(choice.share_id)
        if known is None or choice.age > known.age:
            self.by_share[choice.share_id] = choice

    def places(self) -> set[tuple[Partition, int]]:
        """Where the chosen events are."""
        return {(choice.at, choice.offset) for choice in self.by_share.values()}

    def missing(self) -> list[str]:
        """Shares that were asked for and have no event for this stage in the window."""
        return sorted(set(self.only or ()) - self.by_share.keys())

    def newest(self) -> datetime:
        """When the newest of them came about."""
        return max((choice.age[0] for choice in self.by_share.values()), default=_EARLIEST).asked_at


@dataclass(frozen=True)
class Estimate:
    """What a replay finds and will cost: `shares` ask for `works` pieces of work, `shares_done` of them for work that
    is done already and costs nothing; `to_do` pieces are left, for about `micro_usd`.
    """

    shares: int
    works: int
    shares_done: int
    to_do: int
    micro_usd: MicroUSD | None
    basis: Basis


def estimate(choices: Iterable[Choice], done: Collection[WorkKey], average: Mapping[str, MicroUSD]) -> Estimate:
    """What the choices come to; the same work of several shares is paid once.

    :param done: keys of work that is finished.
    :param average: of each model, what a piece of its work has cost so far.
    """
    chosen = list(choices)
    works = {choice.work_key: choice for choice in chosen}
    left = [choice for key, choice in works.items() if key not in done]
    known, basis = _costs(left, average)
    return Estimate(
        shares=len(chosen),
        works=len(works),
        shares_done=sum(choice.work_key in done for choice in chosen),
        to_do=len(left),
        micro_usd=known,
        basis=basis,
    )


def _costs(left: list[Choice], average: Mapping[str, MicroUSD]) -> tuple[MicroUSD | None, Basis]:
    if all(choice.most is not None for choice in left):
        return MicroUSD(sum(choice.most or ZERO for choice in left)), "holds"
    if all(choice.model in average for choice in left):
        return MicroUSD(sum(average[choice.model] for choice in left)), "average"
    return None, "unknown"
