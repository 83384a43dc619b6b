"""Typed records of the HTTP API for what shares have in common: near-duplicates, and digests of a period."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from millrace.contracts.api import Answer

AlikeBy = Literal["content", "vector"]
"""By the same pairs of words, or by what the embedding model makes of all of it."""


class Duplicate(Answer):
    """A share that says nearly the same.

    `jaccard` estimates the share of word pairs that both have, 0 to 1; `cosine` is that of their mean vectors. One
    that is below its threshold is None.
    """

    share_id: str
    title: str | None = None
    url: str | None = None
    created_at: AwareDatetime
    jaccard: float | None = None
    cosine: float | None = None
    by: list[AlikeBy]


class DuplicatesAnswer(Answer):
    """Shares that say nearly the same as one, most alike first; `note` says what could not be compared."""

    share_id: str
    note: str | None = None
    duplicates: list[Duplicate]


class DigestShare(Answer):
    """A share in a digest, with a sentence about it: of its summary, or else of its text."""

    share_id: str
    title: str | None = None
    url: str | None = None
    href: str
    created_at: AwareDatetime
    sentence: str


class DigestTopic(Answer):
    """Shares about the same, most central first; `count` are all of them, `shares` may be fewer."""

    label: str
    count: int
    shares: list[DigestShare]


class DigestAnswer(Answer):
    """What somebody shared from `since` until (not including) `until`, by topic.

    `count` are the shares of the period, `grouped` those that were compared; `others` belong to no topic, newest
    first, `others_count` of them; `note` says what was left out, and why.
    """

    since: AwareDatetime
    until: AwareDatetime
    count: int
    grouped: int
    note: str | None = None
    topics: list[DigestTopic] = Field(default_factory=list)
    others: list[DigestShare] = Field(default_factory=list)
    others_count: int = 0
