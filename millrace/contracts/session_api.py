"""Typed records of signing in."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from millrace.contracts.api import Answer


class SignInRequest(BaseModel):
    """A token, as `millrace token` prints it; `link`: it came in a link, so it must be one of a link."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: Annotated[str, Field(min_length=1, max_length=8192)]
    link: bool = False


class Me(Answer):
    """Who asks: whose shares they see, their roles, the accounts they may charge (None: any).

    `sign_in`: whether this gateway has a sign-in at all; without one everybody on its machine is an admin.
    """

    owner: str
    roles: list[str]
    accounts: list[str] | None = None
    sign_in: bool
