"""What all typed records of the HTTP API have in common; shared by the gateway that writes them and its clients.

Money is in micro-US-dollars, times are UTC, durations and moments are milliseconds of the original media.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

AccountName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]

PROBLEM: Final = "application/problem+json"
"""The media type of `Problem`."""


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as exc:
        raise PydanticCustomError("moment", "it is not within the years 1 to 9999 of UTC") from exc


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A moment that somebody names; in UTC, as drivers of databases turn it into without asking whether there is one."""


class Answer(BaseModel):
    """Base of every answer; a reader ignores fields that a newer gateway adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Problem(Answer):
    """RFC 9457 problem details; `detail` is one sentence for a person."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
