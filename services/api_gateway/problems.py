"""Errors as RFC 9457 problem documents: one sentence in `detail`, never a traceback or a value that was sent."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from millrace.contracts.api import PROBLEM, Problem
from millrace.errors import Poison, Unavailable
from millrace.store.pool import OUTAGES
from services.api_gateway.errors import NotSignedIn, RequestRefused, TooMany

log = logging.getLogger(__name__)

_RETRY_AFTER_S = "5"


def problem(status: int, title: str, detail: str, *, instance: str | None = None) -> JSONResponse:
    """A problem document as a response."""
    document = Problem(title=title, status=status, detail=detail, instance=instance)
    return JSONResponse(document.model_dump(exclude_none=True), status_code=status, media_type=PROBLEM)


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""
    app.add_exception_handler(RequestRefused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Poison, _poison)
    app.add_exception_handler(ClientDisconnect, _gone)
    for outage in OUTAGES:
        if issubclass(outage, Exception):
            app.add_exception_handler(outage, _database)
    app.add_exception_handler(Exception, _bug)


async def _refused(request: Request, exc: Exception) -> Response:
    status, title = (exc.status, exc.title) if isinstance(exc, RequestRefused) else (400, "Bad request")
    answer = problem(status, title, str(exc), instance=request.url.path)
    if isinstance(exc, NotSignedIn):
        answer.headers["www-authenticate"] = "Bearer"
    if isinstance(exc, TooMany):
        answer.headers["retry-after"] = str(exc.retry_after_s)
    return answer


async def _invalid(request: Request, exc: Exception) -> Response:
    errors = exc.errors() if isinstance(exc, RequestValidationError) else []
    name, message = (errors[0]["loc"][-1], errors[0]["msg"]) if errors else ("request", "is not valid")
    sentence = f"The parameter {name} is not valid: {message[0].lower()}{message[1:]}."
    return problem(422, "Invalid parameter", sentence, instance=request.url.path)


async def _http(request: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 500
    details = {404: "There is nothing at this address; see /docs.", 405: "This address does not take that method."}
    title = {404: "Not found", 405: "Method not allowed"}.get(status, "Request failed")
    answer = problem(status, title, details.get(status, "The request cannot be answered."), instance=request.url.path)
    if isinstance(exc, HTTPException):
        answer.headers.update(exc.headers or {})
    return answer


async def _unavailable(request: Request, exc: Exception) -> Response:
    answer = problem(503, "Temporarily unavailable", str(exc), instance=request.url.path)
    answer.headers["retry-after"] = _RETRY_AFTER_S
    return answer


async def _database(request: Request, exc: Exception) -> Response:
    log.warning("PostgreSQL is away (%s)", type(exc).__name__)
    return await _unavailable(request, Unavailable("The database does not answer; try again in a few seconds."))


async def _poison(request: Request, exc: Exception) -> Response:
    return problem(422, "Cannot be taken", str(exc), instance=request.url.path)


async def _gone(*_: object) -> Response:
    return problem(400, "Client closed the connection", "The request ended before its body did.")


async def _bug(*_: object) -> Response:
    # Starlette's outermost layer raises it again after this answer, and the server logs the traceback.
    return problem(500, "Internal error", "Something went wrong in the gateway; its log says what.")
