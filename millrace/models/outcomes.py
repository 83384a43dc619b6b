"""What an API's status says: what was paid, and what happens next. Pure, and the same for every provider."""

from __future__ import annotations

import unicodedata
from http import HTTPStatus
from typing import Final

from millrace.errors import Outcome, Poison, Retryable, UnknownOutcome
from millrace.http import retry_after_s

CONNECT_S: Final = 10.0
# By name, because the client may sit on either of two generations of its HTTP library.
NEVER_SENT: Final = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"})
"""Errors of a connection that come before anything was asked."""
_MOST_TOKENS: Final = 1_000_000_000  # no request has as many
_CHECK_KEY: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_BUSY: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS})
# A proxy lost sight of a request that the model behind it may have answered, and billed.
_LOST: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})


def of_status(status: int, retry_after: str | None, *, model: str, key: str) -> Outcome:
    """The error that a status is, without a word of what the server said: that may repeat the key or the document.

    :param retry_after: the answer's header of that name.
    :param key: name of the variable that holds the key.
    """
    if status in _LOST:
        return UnknownOutcome(f"the API of {model} lost the answer on its way (HTTP {status})")
    if status in _CHECK_KEY:
        return Retryable(f"the API of {model} refuses the key (HTTP {status}): check {key}")
    if status == HTTPStatus.PAYMENT_REQUIRED:
        return Retryable(f"the API of {model} wants to be paid first (HTTP {status}): check the account's credit")
    if status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # 529 is Anthropic's "overloaded"
        return Retryable(
            f"the API of {model} has no answer now (HTTP {status})", retry_after_s=retry_after_s(retry_after)
        )
    if status == HTTPStatus.NOT_FOUND:
        return Poison(f"the API knows no model {model} (HTTP {status}): check the model's name and the base URL")
    return Poison(f"the API of {model} refuses this request (HTTP {status})")


def unreachable(model: str, why: str) -> Retryable:
    """Nobody was asked; `why` is the type of what went wrong."""
    return Retryable(f"the API of {model} cannot be reached ({why}): is its base URL right?")


def silent(model: str, why: str) -> UnknownOutcome:
    """It was asked, and its answer did not come; `why` as above."""
    return UnknownOutcome(f"the API of {model} was asked and did not answer in time ({why})")


def unreadable(model: str) -> UnknownOutcome:
    """It has answered something that is no answer."""
    return UnknownOutcome(f"the API of {model} gave an answer that cannot be read")


def counted(tokens: object, otherwise: int) -> int:
    """Tokens as a server counted them; `otherwise` where what it says is no count that could be charged."""
    return tokens if isinstance(tokens, int) and 0 <= tokens <= _MOST_TOKENS else otherwise


def byte_count(text: str) -> int:
    """Bytes of a text, which its tokens are never more than.

    Some tokenizers read its NFKC form, in which a sign of 3 bytes may be 18 letters: the longer of both counts.
    """
    forms = (text,) if text.isascii() else (text, unicodedata.normalize("NFKC", text))
    return max(len(form.encode("utf-8", "replace")) for form in forms)
