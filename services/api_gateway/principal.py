"""Who asks, and what that person or program may see and do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from millrace.contracts.events import DEFAULT_ACCOUNT
from millrace.text import has_nul
from millrace.tokens import ROLES, Role
from services.api_gateway.errors import NotAllowed, NotSignedIn

_LONGEST_OWNER: Final = 200
_NOT_TEXT: Final = "The token's subject (sub) is not a name of 1 to 200 characters."


@dataclass(frozen=True)
class Principal:
    """Who signed in. `owner` is whose shares these are; `accounts` those that may be charged, None for all.

    Also an admin sees no shares but their own, but for the results of stages, to look into what has gone wrong.
    """

    owner: str
    roles: frozenset[Role]
    accounts: frozenset[str] | None
    expires_at: float | None = None
    """Seconds since 1970; None where nobody signs in."""

    @property
    def is_admin(self) -> bool:
        """Whether they may look into everything that is run, and change it."""
        return "admin" in self.roles

    def must_be_admin(self) -> None:
        """Let nobody but an admin on.

        :raises NotAllowed: they are none.
        """
        if not self.is_admin:
            raise NotAllowed("This is for admins: sign in with a token that has the role admin.")

    def must_have_account(self, account: str) -> None:
        """Let nobody on who may not charge, or look at, an account.

        :raises NotAllowed: it is none of theirs.
        """
        if self.accounts is not None and account not in self.accounts:
            raise NotAllowed(f"The account {account} is none of yours; a token names those that are (accounts).")


def local_admin(owner: str) -> Principal:
    """Whoever asks a gateway without sign-in, which listens on loopback alone."""
    return Principal(owner, frozenset(ROLES), None)


def principal_of(claims: Mapping[str, object], roles_claim: str) -> Principal:
    """Whom a token speaks of, when its signature and times are right.

    Roles that are not known here say nothing; whoever has none is a user. Accounts are users': an admin may change
    every cap, and so charge whom they like.

    :param roles_claim: where roles are, with dots for claims within claims: realm_access.roles.
    :raises NotSignedIn: it names nobody, or its accounts are not a list of names.
    """
    owner = claims.get("sub")
    if not isinstance(owner, str) or not 0 < len(owner) <= _LONGEST_OWNER or has_nul(owner):
        raise NotSignedIn(_NOT_TEXT)
    named = _names(_within(claims, roles_claim))
    roles = frozenset(role for role in ROLES if role in named) or frozenset[Role](("user",))
    accounts = claims.get("accounts", [DEFAULT_ACCOUNT])
    if not isinstance(accounts, list) or not all(isinstance(one, str) for one in accounts):
        raise NotSignedIn("The token's accounts are not a list of names.")
    ends = claims.get("exp")
    expires_at = float(ends) if isinstance(ends, (int, float)) else None
    return Principal(owner, roles, None if "admin" in roles else frozenset(accounts), expires_at)


def _within(claims: Mapping[str, object], path: str) -> object:
    found: object = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _names(found: object) -> list[object]:
    """A list of them, or one string with spaces between (as `scope` has them, RFC 8693)."""
    if isinstance(found, str):
        return list(found.split())
    return found if isinstance(found, list) else []
