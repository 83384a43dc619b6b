"""Tokens of people and programs: JSON Web Tokens (RFC 7519), signed with the secret that a gateway knows.

Claims: `iss` is `millrace`, `sub` is whose shares these are, `roles` a list of `ROLES`, `accounts` those that a user
may charge (without it `default` alone; admins any), `use` is `link` for one that only opens a session.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final, Literal

import jwt

from millrace.errors import ConfigurationError

Role = Literal["user", "admin"]
ROLES: Final[tuple[Role, ...]] = ("user", "admin")
ALGORITHM: Final = "HS256"
LEAST_SECRET_BYTES: Final = 32
"""RFC 7518, 3.2: a key of HS256 has at least the length of its hash."""
ISSUER: Final = "millrace"
LINK: Final = "link"


def mint(
    secret: str,
    *,
    subject: str,
    roles: Collection[Role],
    now: datetime,
    lasts: timedelta,
    accounts: Collection[str] | None = None,
    use: str | None = None,
) -> str:
    """A token that is valid from now on.

    :raises ConfigurationError: the secret is too short to sign with.
    """
    if len(secret.encode()) < LEAST_SECRET_BYTES:
        raise ConfigurationError(
            f"MILLRACE_JWT_SECRET has fewer than {LEAST_SECRET_BYTES} bytes: make one with `openssl rand -hex 32`."
        )
    claims: dict[str, object] = {
        "iss": ISSUER,
        "sub": subject,
        "roles": sorted(roles),
        "iat": now,
        "exp": now + lasts,
    }
    if accounts is not None:
        claims["accounts"] = sorted(accounts)
    if use is not None:
        claims["use"] = use
    return jwt.encode(claims, secret, algorithm=ALGORITHM)
