"""How people on this machine sign in: a secret that stays in the data folder, and tokens signed with it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from millrace.embedded.errors import EmbeddedError
from millrace.embedded.paths import write_private
from millrace.tokens import LINK, ROLES, mint

SECRET_VARIABLE: Final = "MILLRACE_JWT_SECRET"  # noqa: S105 - a name
_OWNER_VARIABLE: Final = "MILLRACE_OWNER"
_LOCAL: Final = "local"
_COMMANDS_LAST: Final = timedelta(days=365)
LINKS_LAST: Final = timedelta(minutes=15)


def local_secret(file: Path, environment: Mapping[str, str]) -> str:
    """The secret of the environment, or else the data folder's own, which is made the first time (0600).

    :raises EmbeddedError: it can be neither read nor written.
    """
    if named := environment.get(SECRET_VARIABLE):
        return named
    try:
        if not file.exists():
            write_private(file, secrets.token_hex(32))
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise EmbeddedError(f"The secret of this folder, {file}, cannot be used ({type(exc).__name__}).") from exc


def local_owner(environment: Mapping[str, str]) -> str:
    """Whose shares are those of commands on this machine."""
    return environment.get(_OWNER_VARIABLE) or _LOCAL


def commands_token(secret: str, owner: str, now: datetime) -> str:
    """What commands of this user sign in with, as an admin; it is written where the secret is."""
    return mint(secret, subject=owner, roles=ROLES, now=now, lasts=_COMMANDS_LAST)


def sign_in_link(gateway: str, secret: str, owner: str, now: datetime) -> str:
    """A link that signs a browser in. What follows the # is sent to nobody but by the page."""
    return f"{gateway}/#sign-in={mint(secret, subject=owner, roles=ROLES, now=now, lasts=LINKS_LAST, use=LINK)}"
