"""Signing in: tokens are checked here, and links become sessions. None of it is kept: a token is its own proof."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import jwt

from millrace.clock import Clock
from millrace.tokens import ALGORITHM, ISSUER, LINK, mint
from services.api_gateway.errors import NotSignedIn
from services.api_gateway.keys import ALGORITHMS, PublicKeys
from services.api_gateway.principal import Principal, principal_of

SESSION_LASTS: Final = timedelta(days=7)
LONGEST_COOKIE: Final = timedelta(days=400)
"""RFC 6265bis, 5.5: browsers keep none for longer."""
_LEEWAY_S: Final = 30
_LONGEST: Final = 8 << 10
_LONGEST_COOKIE: Final = 3_900
"""RFC 6265, 6.1: browsers keep 4,096 bytes with its name and the rest of it."""


@dataclass(frozen=True)
class Checks:
    """What a token of somebody else must say; `roles_claim` is where its roles are."""

    issuer: str | None = None
    audience: str | None = None
    roles_claim: str = "roles"


@dataclass(frozen=True)
class Session:
    """What a browser keeps, and until when."""

    token: str
    expires_at: datetime


class SignIn:
    """Checks tokens by a secret (HS256), by the public keys of an issuer, or by whichever they are signed with."""

    def __init__(self, clock: Clock, secret: str | None, keys: PublicKeys | None, checks: Checks) -> None:
        self._clock = clock
        self._secret = secret
        self._keys = keys
        self._checks = checks

    async def principal(self, token: str) -> Principal:
        """Whom a token speaks of.

        :raises NotSignedIn: it is none, is not valid (any more), or only opens a session.
        :raises Unavailable: the issuer's keys cannot be read.
        """
        claims, checks = await self._claims(token)
        if claims.get("use") == LINK:
            raise NotSignedIn("This token is of a sign-in link, which only opens a session on the page.")
        return principal_of(claims, checks.roles_claim)

    async def session(self, token: str, *, of_link: bool = False) -> Session:
        """What a browser gets for a token: the token itself, or for that of a link one that lasts a week.

        :param of_link: the token came in a link, which anybody may have sent: it must be one of a link, then.

        :raises NotSignedIn: as `principal` does.
        :raises Unavailable: as `principal` does.
        """
        claims, checks = await self._claims(token)
        who, now = principal_of(claims, checks.roles_claim), self._clock.now()
        if claims.get("use") != LINK or self._secret is None:
            await self.principal(token)
            if of_link:
                raise NotSignedIn("This is no sign-in link: paste the token if you trust whoever gave it to you.")
            if len(token) > _LONGEST_COOKIE:
                raise NotSignedIn("The token is longer than browsers keep: ask for one with fewer claims.")
            ends = min(float(str(claims["exp"])), (now + LONGEST_COOKIE).timestamp())
            return Session(token, datetime.fromtimestamp(ends, UTC))
        opened = mint(
            self._secret, subject=who.owner, roles=who.roles, now=now, lasts=SESSION_LASTS, accounts=who.accounts
        )
        return Session(opened, now + SESSION_LASTS)

    async def _claims(self, token: str) -> tuple[dict[str, object], Checks]:
        if len(token) > _LONGEST:
            raise NotSignedIn("The token is longer than tokens are.")
        try:
            header = jwt.get_unverified_header(token)
            key, algorithms, checks = await self._key(token, header)
            claims: dict[str, object] = jwt.decode(
                token,
                key,
                algorithms=algorithms,
                issuer=checks.issuer,
                audience=checks.audience,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "sub"], "verify_aud": checks.audience is not None},
            )
        except jwt.ExpiredSignatureError as exc:
            raise NotSignedIn(
                "The token has expired: get a new one (`millrace token`, or a new sign-in link)."
            ) from exc
        except jwt.PyJWTError as exc:
            raise NotSignedIn(f"The token is not valid here: {_why(exc)}.") from exc
        return claims, checks

    async def _key(self, token: str, header: dict[str, object]) -> tuple[str | jwt.PyJWK, list[str], Checks]:
        if header.get("alg") == ALGORITHM and self._secret is not None:
            # What it says it is decides how it is checked, and either way it is signed with our secret.
            is_ours = jwt.decode(token, options={"verify_signature": False}).get("iss") == ISSUER
            return self._secret, [ALGORITHM], Checks(issuer=ISSUER) if is_ours else self._checks
        if header.get("alg") in ALGORITHMS and self._keys is not None:
            key_id = header.get("kid")
            key = await self._keys.find(key_id if isinstance(key_id, str) else None)
            if key is not None:
                return key, list(ALGORITHMS), self._checks
        raise jwt.InvalidKeyError("no key")


def _why(exc: jwt.PyJWTError) -> str:
    """In words of ours: those of a library may repeat what was sent."""
    reasons: dict[type[Exception], str] = {
        jwt.InvalidAudienceError: "it is meant for somebody else (aud)",
        jwt.InvalidIssuerError: "it is of another issuer (iss)",
        jwt.ImmatureSignatureError: "it is not valid yet (nbf)",
        jwt.MissingRequiredClaimError: "its subject (sub), end (exp), issuer (iss) or audience (aud) is missing",
        jwt.InvalidSignatureError: "it was signed with another key",
        jwt.InvalidKeyError: "no key here fits it",
    }
    return next((words for kind, words in reasons.items() if isinstance(exc, kind)), "it cannot be read")
