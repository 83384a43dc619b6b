"""What a replay says about itself, to people and as JSON. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from millrace.money import MicroUSD, format_usd
from millrace.stream.replay.choose import Basis, Chosen, Estimate

_BASES: Final = {
    "holds": "at most {amount}, which is what the stage would hold",
    "average": "about {amount}, which is what such work has cost on average",
    "unknown": "nobody knows how much: the stage does not say beforehand, and has not done any with this model",
}
_SHOWN: Final = 10


@dataclass
class Report:
    """See `Estimate` and `Chosen`; `published` of `shares` commands, one each; `model` is what the rest needs."""

    stage: str
    dry_run: bool
    replay_id: str | None = None
    shares: int = 0
    works: int = 0
    shares_done: int = 0
    to_do: int = 0
    estimate_micro_usd: MicroUSD | None = None
    basis: Basis | None = None
    model: str | None = None
    missing: list[str] = field(default_factory=list)
    unreadable: int = 0
    impossible: int = 0
    published: int = 0
    finished: bool = False
    note: str | None = None

    def take(self, chosen: Chosen, sums: Estimate) -> None:
        """What was found."""
        self.shares, self.works, self.shares_done, self.to_do = sums.shares, sums.works, sums.shares_done, sums.to_do
        self.estimate_micro_usd, self.basis = sums.micro_usd, sums.basis
        self.model = next((choice.model for choice in chosen.by_share.values()), None)
        self.missing, self.unreadable, self.impossible = chosen.missing(), chosen.unreadable, chosen.impossible


def found_sentences(report: Report) -> list[str]:
    """What was found and what it will cost."""
    lines = []
    if report.missing:
        more = "" if len(report.missing) <= _SHOWN else f" and {len(report.missing) - _SHOWN} more"
        lines.append(f"No event for this stage is kept of {', '.join(report.missing[:_SHOWN])}{more}.")
    if report.unreadable or report.impossible:
        lines.append(
            f"{report.unreadable} events cannot be read and {report.impossible} never be worked on: left out."
        )
    if not report.shares:
        return [*lines, "There is nothing to replay."]
    lines.append(f"{report.shares} shares; the work of {report.shares_done} is done already and costs nothing.")
    if report.to_do and report.basis is not None:
        amount = "" if report.estimate_micro_usd is None else format_usd(report.estimate_micro_usd)
        cost = _BASES[report.basis].format(amount=amount)
        lines.append(f"{report.to_do} pieces of work are left ({report.model}): {cost}.")
    return [*lines, report.note] if report.note else lines


def other_model(chosen: Chosen, last: str | None) -> str | None:
    """A warning where the agents seem to have other settings than this process has."""
    models = {choice.model for choice in chosen.by_share.values()}
    if last is None or not models or last in models:
        return None
    return (
        f"This was reckoned for {', '.join(sorted(models))}, but the stage has last worked with {last}: if the "
        "agents have other settings than this command, set them here too."
    )
