from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from millrace.clock import SystemClock
from millrace.errors import ConfigurationError, Unavailable
from millrace.tokens import LINK, mint
from services.api_gateway.errors import NotSignedIn
from services.api_gateway.keys import PublicKeys
from services.api_gateway.sign_in import Checks, SignIn

SECRET = "s" * 64
OTHER = "t" * 32
NOW = datetime.now(UTC)
HOUR, LONG = timedelta(hours=1), timedelta(days=2)
"""Tokens are made when tests are collected, and looked at whenever their turn comes."""
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def token(secret: str = SECRET, *, now: datetime = NOW, use: str | None = None) -> str:
    return mint(secret, subject="ada", roles=["admin"], now=now, lasts=LONG, use=use)


def signed(key: object, algorithm: str, **more: object) -> str:
    claims = {"sub": "ada", "exp": NOW + LONG, **more}
    headers = {"kid": algorithm} if algorithm != "none" else None
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)  # type: ignore[arg-type]


def by_secret(**checks: str) -> SignIn:
    return SignIn(SystemClock(), SECRET, None, Checks(**checks))


class Issuer:
    """Public keys over HTTP; `away` while it does not answer."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False
        self.time = 1000.0
        self.keys = [
            json.loads(RSAAlgorithm.to_jwk(RSA.public_key())) | {"kid": "RS256", "use": "sig"},
            json.loads(ECAlgorithm.to_jwk(EC.public_key())) | {"kid": "ES256", "use": "sig"},
            {"kty": "oct", "kid": "HS256", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
        ]

    def answer(self, _: httpx.Request) -> httpx.Response:
        self.asked += 1
        return httpx.Response(503) if self.away else httpx.Response(200, json={"keys": self.keys})

    def sign_in(self, secret: str | None = None) -> SignIn:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        return SignIn(
            SystemClock(), secret, PublicKeys("https://issuer.example/keys", http, lambda: self.time), Checks()
        )


async def test_a_token_that_was_signed_with_the_secret_says_who_asks() -> None:
    who = await by_secret().principal(token())
    assert (who.owner, who.is_admin, who.accounts) == ("ada", True, None)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: token(OTHER), "another key"),
        (lambda: token(now=NOW - LONG - HOUR), "expired"),
        (lambda: signed(SECRET, "HS512"), "no key"),
        (lambda: signed("", "none"), "no key"),
        (lambda: signed(RSA, "RS256"), "no key"),
        (lambda: jwt.encode({"sub": "ada"}, SECRET), "end"),
        (lambda: jwt.encode({"exp": NOW + LONG}, SECRET), "subject"),
        (lambda: signed(SECRET, "HS256", nbf=NOW + LONG - HOUR), "not valid yet"),
        (lambda: "", "cannot be read"),
        (lambda: "a.b.c", "cannot be read"),
        (lambda: token().rpartition(".")[0] + "." + token(OTHER).rpartition(".")[2], "another key"),
        (lambda: "x" * 9000, "longer"),
    ],
)
async def test_a_token_that_is_not_right_is_refused_with_the_reason(made: Callable[[], str], why: str) -> None:
    bad = made()
    with pytest.raises(NotSignedIn, match=why) as refused:
        await by_secret().principal(bad)
    assert not bad or bad not in str(refused.value)


async def test_issuer_and_audience_are_checked_where_they_are_said() -> None:
    strict = by_secret(issuer="https://issuer.example", audience="millrace")
    for claims in ({}, {"iss": "https://issuer.example"}, {"iss": "https://issuer.example", "aud": "other"}):
        with pytest.raises(NotSignedIn):
            await strict.principal(signed(SECRET, "HS256", **claims))
    right = signed(SECRET, "HS256", iss="https://issuer.example", aud=["other", "millrace"])
    assert (await strict.principal(right)).owner == "ada"
    assert (await by_secret().principal(right)).owner == "ada"


async def test_a_link_opens_a_session_and_nothing_else() -> None:
    link = token(use=LINK)
    with pytest.raises(NotSignedIn, match="link"):
        await by_secret().principal(link)
    session = await by_secret().session(link)
    assert (await by_secret().principal(session.token)).is_admin
    assert timedelta(days=6) < session.expires_at - NOW < timedelta(days=8)


async def test_a_session_of_a_token_ends_when_the_token_does() -> None:
    session = await by_secret().session(token())
    assert session.token == token()
    assert session.expires_at == (NOW + LONG).replace(microsecond=0)
    endless = jwt.encode({"sub": "ada", "exp": 10**15}, SECRET)
    assert (await by_secret().session(endless)).expires_at < NOW + timedelta(days=401)


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
async def test_a_token_is_checked_by_its_issuers_public_key(key: object, algorithm: str) -> None:
    issuer = Issuer()
    assert (await issuer.sign_in().principal(signed(key, algorithm))).owner == "ada"
    assert issuer.asked == 1


async def test_a_public_key_is_no_secret() -> None:
    """Who signs by HMAC with the text of a public key has made no token; nor has who names a symmetric key."""
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": "RS256"}
    body = {"sub": "ada", "exp": (NOW + LONG).timestamp()}
    encoded = b".".join(jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, body))
    signature = hmac.digest(public, encoded, "sha256")
    forged = encoded + b"." + jwt.utils.base64url_encode(signature)
    for sign_in in (Issuer().sign_in(), Issuer().sign_in(SECRET)):
        for bad in (forged.decode(), signed("secretsecretsecretsecretsecretsecret", "HS256")):
            with pytest.raises(NotSignedIn):
                await sign_in.principal(bad)


async def test_keys_that_anybody_names_are_not_asked_for_each_time() -> None:
    issuer = Issuer()
    sign_in = issuer.sign_in()
    unknown = jwt.encode({"sub": "ada", "exp": NOW + LONG}, EC, algorithm="ES256", headers={"kid": "?"})
    for _ in range(20):
        with pytest.raises(NotSignedIn):
            await sign_in.principal(unknown)
    assert issuer.asked == 1
    issuer.keys[1]["kid"] = "?"  # the issuer has a new key
    issuer.time += 31
    assert (await sign_in.principal(unknown)).owner == "ada"
    assert issuer.asked == 2


async def test_an_issuer_that_is_away_locks_nobody_out_whose_key_is_known() -> None:
    issuer = Issuer()
    sign_in = issuer.sign_in()
    issuer.away = True
    for _ in range(3):  # also those who come before it is asked again
        with pytest.raises(Unavailable):
            await sign_in.principal(signed(RSA, "RS256"))
    issuer.away, issuer.time = False, issuer.time + 31
    await sign_in.principal(signed(RSA, "RS256"))
    issuer.away, issuer.time = True, issuer.time + 10_000
    assert (await sign_in.principal(signed(RSA, "RS256"))).owner == "ada"


async def test_what_an_issuer_must_say_is_not_asked_of_our_own_tokens() -> None:
    issuer = Issuer()
    http = httpx.AsyncClient(transport=httpx.MockTransport(issuer.answer))
    checks = Checks("https://issuer.example", "millrace", "realm_access.roles")
    for keys in (None, PublicKeys("https://issuer.example/keys", http)):
        sign_in = SignIn(SystemClock(), SECRET, keys, checks)
        assert (await sign_in.principal(token())).is_admin
        assert (await sign_in.principal((await sign_in.session(token(use=LINK))).token)).is_admin
        for claims in ({}, {"iss": "https://issuer.example"}, {"iss": "millrace ", "aud": "millrace"}):
            with pytest.raises(NotSignedIn):
                await sign_in.principal(signed(SECRET, "HS256", **claims))


async def test_a_link_that_somebody_sends_opens_no_session_of_a_token_of_theirs() -> None:
    with pytest.raises(NotSignedIn, match="no sign-in link"):
        await by_secret().session(token(), of_link=True)
    assert (await by_secret().session(token(use=LINK), of_link=True)).token


async def test_a_token_that_no_browser_keeps_is_refused_in_a_sentence() -> None:
    large = signed(SECRET, "HS256", groups=["x" * 100] * 40)
    await by_secret().principal(large)
    with pytest.raises(NotSignedIn, match="longer than browsers keep"):
        await by_secret().session(large)


@pytest.mark.parametrize("body", [[], "keys", {"keys": [7]}, {"keys": "x"}, None])
async def test_keys_that_are_none_are_an_issuer_that_is_away(body: object) -> None:
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=body)))
    sign_in = SignIn(SystemClock(), None, PublicKeys("https://issuer.example/keys", http), Checks())
    with pytest.raises(Unavailable):
        await sign_in.principal(signed(RSA, "RS256"))


def test_no_token_is_signed_with_a_short_secret() -> None:
    with pytest.raises(ConfigurationError, match="32 bytes"):
        token("short")
