"""Refusals of a request: each becomes a problem document whose detail is the sentence.

RequestRefused
├── BadRequest    422: it can be read, but makes no sense
├── Unknown       422: it names a stage, or a scope of budgets, that there is not
├── BadPeriod     422: a period that is none
├── TooWide       422: a search that would take too long
├── Unreadable    400: it cannot be read at all
├── WrongType     415: neither JSON nor a form
├── TooLarge      413
├── NotFound      404
├── Conflict      422: the idempotency key belongs to another request
├── NotNow        409: what is there does not allow it
├── Forbidden     403: sent by a page of another site
├── NotSignedIn   401: no token, or none that is valid
├── TooMany       429: more requests than one person or program may send
├── NotAllowed    403: not for this role, or an account that is not theirs
└── WrongHost     400: addressed to a host name that is not ours
"""

from __future__ import annotations

from typing import ClassVar

from millrace.errors import MillraceError


class RequestRefused(MillraceError):
    """The sender has to change something; `status` and `title` are those of the problem document."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad request"


class BadRequest(RequestRefused):
    """The request can be read but makes no sense."""

    status = 422
    title = "Not a share that can be taken"


class Unknown(RequestRefused):
    """The request names what this installation does not have."""

    status = 422
    title = "Not a name that is known here"


class BadPeriod(RequestRefused):
    """The request names a period that has no moment in it."""

    status = 422
    title = "Not a period"


class TooWide(RequestRefused):
    """A search of so much takes longer than anybody waits."""

    status = 422
    title = "Too much to search"


class Unreadable(RequestRefused):
    """The body is not what its content type says."""


class WrongType(RequestRefused):
    """The body is neither JSON nor multipart."""

    status = 415
    title = "Unsupported media type"


class TooLarge(RequestRefused):
    """More than a limit allows."""

    status = 413
    title = "Too large"


class NotFound(RequestRefused):
    """There is no such thing, or it is not the asker's."""

    status = 404
    title = "Not found"


class Conflict(RequestRefused):
    """The idempotency key was used for a different request."""

    status = 422
    title = "Idempotency key reused"


class NotNow(RequestRefused):
    """What is there, as it is, does not allow it."""

    status = 409
    title = "Not possible as it is"


class Forbidden(RequestRefused):
    """A page of another site sent it through somebody's browser."""

    status = 403
    title = "Forbidden"


class NotSignedIn(RequestRefused):
    """Nobody knows who sends the request."""

    status = 401
    title = "Not signed in"


class TooMany(RequestRefused):
    """Whoever sends it has sent too many; `retry_after_s` says when there is room again."""

    status = 429
    title = "Too many requests"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotAllowed(RequestRefused):
    """Whoever is signed in may not do this."""

    status = 403
    title = "Not allowed"


class WrongHost(RequestRefused):
    """The Host header names no host of this gateway (DNS rebinding)."""

    title = "Unknown host"
