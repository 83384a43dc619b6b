"""Public keys of whoever issues tokens, read from a JWKS URL (RFC 7517) and kept.

Keys are asked for again when a token names one that is not among them, but not more often than every half minute:
anybody can name keys. While the issuer is away those that were read last go on being good.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

import httpx
import jwt

from millrace.errors import Unavailable

log = logging.getLogger(__name__)

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Those with a public key: a token that were signed with that key as if it were a secret is none."""
_AGAIN_S: Final = 30.0
_FRESH_S: Final = 600.0
_TIMEOUT_S: Final = 5.0


class PublicKeys:
    """The keys at `url`; `find` may be called by many at once."""

    def __init__(self, url: str, http: httpx.AsyncClient, now: Callable[[], float] = monotonic) -> None:
        self._url = url
        self._http = http
        self._now = now
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._asked: float | None = None
        self._lock = asyncio.Lock()

    async def find(self, key_id: str | None) -> jwt.PyJWK | None:
        """The key of this id; without an id the only one there is. None when there is none.

        :raises Unavailable: no keys were read yet, and the issuer does not answer.
        """
        age = self._age()
        if self._look(key_id) is None or age is None or age > _FRESH_S:
            async with self._lock:
                age = self._age()
                if age is None or age > _AGAIN_S:
                    await self._read()
            if not self._keys:  # nobody can say whose token it is, which is no fault of the token
                raise Unavailable("The keys that tokens are checked with cannot be read; try again soon.")
        return self._look(key_id)

    def _age(self) -> float | None:
        return None if self._asked is None else self._now() - self._asked

    def _look(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _read(self) -> None:
        self._asked = self._now()
        try:
            answer = await self._http.get(self._url, timeout=_TIMEOUT_S)
            answer.raise_for_status()
            found = jwt.PyJWKSet.from_dict(answer.json()).keys
        except (httpx.HTTPError, ValueError, AttributeError, TypeError, jwt.PyJWTError) as exc:
            log.warning("The keys of MILLRACE_JWKS_URL cannot be read: %s", type(exc).__name__)
            return
        self._keys = {key.key_id: key for key in found if key.key_type != "oct"}
