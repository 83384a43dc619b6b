"""Who sends a request, as routes ask for it: `Who` for anybody who is signed in, `Admin` for admins alone."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from services.api_gateway.principal import Principal, local_admin
from services.api_gateway.resources import Parts


async def signed_in(parts: Parts) -> Principal:
    """Whoever sends this request."""
    return local_admin(parts.owner)


def admin(who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    """The same, if it is an admin.

    :raises NotAllowed: it is not.
    """
    who.must_be_admin()
    return who


Who = Annotated[Principal, Depends(signed_in)]
Admin = Annotated[Principal, Depends(admin)]
