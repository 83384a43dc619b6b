"""What all typed records of the HTTP API have in common; shared by the gateway that writes them and its clients.

Money is in micro-US-dollars, times are UTC, durations and moments are milliseconds of the original media.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

AccountName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


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
