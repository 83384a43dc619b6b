"""Who asks, and what that person or program may see and do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from services.api_gateway.errors import NotAllowed

Role = Literal["user", "admin"]
ROLES: Final[tuple[Role, ...]] = ("user", "admin")


@dataclass(frozen=True)
class Principal:
    """Who signed in. `owner` is whose shares these are; `accounts` those that may be charged, None for all.

    Also an admin sees no shares but their own: what people share is theirs, and what is run is the admin's.
    """

    owner: str
    roles: frozenset[Role]
    accounts: frozenset[str] | None

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
