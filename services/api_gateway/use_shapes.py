"""Use by bucket and by user. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from millrace.contracts.analytics_api import UseBucket, UserUse
from millrace.money import MicroUSD
from services.api_gateway.spans import Span, percentages


@dataclass(frozen=True)
class Use:
    """What one user, or nobody who is known, has shared or spent in one hour or day."""

    user: str | None
    start: datetime
    shares: int = 0
    calls: int = 0
    settled: int = 0


def series(found: Iterable[Use], span: Span) -> list[UseBucket]:
    """One bucket after the other, also those without use."""
    parts: dict[datetime, list[Use]] = {start: [] for start in span.starts()}
    for one in found:
        parts[one.start].append(one)
    return [
        UseBucket(
            start=start,
            shares=sum(one.shares for one in ones),
            calls=sum(one.calls for one in ones),
            settled_micro_usd=MicroUSD(sum(one.settled for one in ones)),
        )
        for start, ones in parts.items()
    ]


def by_user(found: Sequence[Use], span: Span) -> list[UserUse]:
    """Every user, those who spent most first; percentages are of what was settled."""
    users: dict[str | None, list[Use]] = {}
    for one in found:
        users.setdefault(one.user, []).append(one)
    settled = {user: sum(one.settled for one in ones) for user, ones in users.items()}
    order = sorted(users, key=lambda user: (-settled[user], user is None, user or ""))
    percent = percentages([settled[user] for user in order])
    return [
        UserUse(
            user=user,
            shares=sum(one.shares for one in users[user]),
            calls=sum(one.calls for one in users[user]),
            settled_micro_usd=MicroUSD(settled[user]),
            percent=part,
            series=series(users[user], span),
        )
        for user, part in zip(order, percent, strict=True)
    ]
