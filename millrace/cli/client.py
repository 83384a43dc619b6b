"""The gateway's API for commands: typed answers, uploads with progress, errors of one sentence."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from millrace.contracts.api import Answer, Problem
from millrace.contracts.budget_api import (
    AlertsAnswer,
    BudgetAnswer,
    BudgetScope,
    CapChange,
    CapRequest,
    CapsAnswer,
    Reconciled,
    ReconcileRequest,
    UnconfirmedAnswer,
)
from millrace.contracts.insight_api import DigestAnswer, DuplicatesAnswer
from millrace.contracts.search_api import SearchAnswer, SearchMode
from millrace.contracts.share_api import Accepted, CancelAnswer, RetryAnswer, ShareRequest, SharesAnswer, ShareView
from millrace.errors import ConfigurationError, MillraceError, Unavailable

A = TypeVar("A", bound=Answer)
UploadProgress = Callable[[int, int], None]
"""Called with the bytes that were sent and the bytes there are."""

SETTLED = frozenset({"done", "failed", "parked", "cancelled"})
"""States in which a share does not move on by itself soon."""

_AWAY = 503
_TIMEOUT = httpx.Timeout(120.0, connect=5.0)  # a large upload is copied and made durable before the answer


class ApiError(MillraceError):
    """The gateway refused, for the reason in its problem document."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class NotSettled(MillraceError):
    """A share was still being worked on when the wait was over."""


class Client:
    """One gateway at its base URL; use it as a context.

    Every method raises `Unavailable` when the gateway, or what it needs, does not answer, `ApiError` when it refuses.

    :param token: what it signs in with, where the gateway asks for that.
    :param transport: for tests; by default the network, past any proxy of the environment.
    """

    def __init__(
        self, base_url: str, *, token: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._base_url = base_url
        self._http = httpx.Client(
            base_url=base_url,
            timeout=_TIMEOUT,
            transport=transport,
            trust_env=False,
            headers={"authorization": f"Bearer {token}"} if token else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def add(self, request: ShareRequest, *, idempotency_key: str | None = None) -> Accepted:
        """Share a URL or a text."""
        with self._answering():
            response = self._http.post(
                "/shares", json=request.model_dump(exclude_none=True), headers=_key(idempotency_key)
            )
        return _read(response, Accepted)

    def upload(
        self,
        path: Path,
        request: ShareRequest,
        *,
        progress: UploadProgress | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Share a file; it is read as it is sent.

        :raises ConfigurationError: the file cannot be opened.
        """
        fields: dict[str, str | list[str]] = {
            name: value for name, value in request.model_dump(exclude_none=True).items() if value
        }
        try:
            watched = _Watched(path, progress or _unseen)
        except OSError as exc:
            raise ConfigurationError(f"The file {path} cannot be opened ({exc.strerror}).") from exc
        name = os.fsencode(path.name).decode(errors="replace")  # names of files need not be text
        with watched as file, self._answering():
            response = self._http.post(
                "/shares", data=fields, files={"file": (name, file)}, headers=_key(idempotency_key)
            )
        return _read(response, Accepted)

    def share(self, share_id: str) -> ShareView:
        """A share with its stages, results and receipts."""
        with self._answering():
            response = self._http.get(f"/shares/{quote(share_id, safe='')}")
        return _read(response, ShareView)

    def shares(self, *, limit: int, cursor: str | None = None, **filters: str | None) -> SharesAnswer:
        """One's own shares, newest first.

        :param cursor: `next` of the page before.
        :param filters: as the API has them: state, kind, account.
        """
        return self.get("/shares", SharesAnswer, limit=limit, cursor=cursor, **filters)

    def cancel(self, share_id: str) -> CancelAnswer:
        """Let nothing of a share go on; may be repeated."""
        with self._answering():
            response = self._http.post(f"/shares/{quote(share_id, safe='')}/cancel")
        return _read(response, CancelAnswer)

    def delete(self, share_id: str) -> None:
        """Delete a share and everything that came of it; may be repeated."""
        with self._answering():
            response = self._http.delete(f"/shares/{quote(share_id, safe='')}")
        _checked(response)

    def retry(self, share_id: str) -> RetryAnswer:
        """Try again what failed or was cancelled of a share; may be repeated."""
        return self.post(f"/shares/{quote(share_id, safe='')}/retry", RetryAnswer)

    def wait(
        self,
        share_id: str,
        *,
        within_s: float,
        every_s: float = 0.3,
        seen: Callable[[ShareView], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> ShareView:
        """Look at a share until it is done, failed, parked or cancelled; `seen` gets every look at it.

        :raises NotSettled: it is neither after `within_s`.
        """
        deadline = clock() + within_s
        while True:
            view = self.share(share_id)
            if seen is not None:
                seen(view)
            if view.state in SETTLED:
                return view
            if clock() >= deadline:
                raise NotSettled(f"The share {share_id} is still {view.state} after {within_s:.0f} s.")
            sleep(every_s)

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        mode: SearchMode = "hybrid",
        two_phase: bool = False,
        cursor: str | None = None,
        **filters: str | None,
    ) -> SearchAnswer:
        """Passages of shares, best first.

        :param two_phase: in the nearest shares alone.
        :param cursor: `next` of the page before.
        :param filters: as the API has them: kind, content_type, since, until, language, category, share,
            least_quality.
        """
        phases = "true" if two_phase else None
        asked = {"mode": mode, "two_phase": phases, "cursor": cursor, **filters}
        return self.get("/search", SearchAnswer, q=query, limit=limit, **asked)

    def similar(self, share_id: str, *, limit: int = 10, **filters: str | None) -> SearchAnswer:
        """Shares that are about the same as one, nearest first.

        :param filters: as `search` has them.
        """
        return self.get(f"/shares/{quote(share_id, safe='')}/similar", SearchAnswer, limit=limit, **filters)

    def duplicates(
        self,
        share_id: str,
        *,
        limit: int = 20,
        least_jaccard: float | None = None,
        least_cosine: float | None = None,
    ) -> DuplicatesAnswer:
        """Shares that say nearly the same as one, most alike first."""
        least = {"least_jaccard": least_jaccard, "least_cosine": least_cosine}
        asked = {name: None if value is None else str(value) for name, value in least.items()}
        return self.get(f"/shares/{quote(share_id, safe='')}/duplicates", DuplicatesAnswer, limit=limit, **asked)

    def digest(self, *, since: str | None = None, until: str | None = None, limit: int = 10) -> DigestAnswer:
        """What was shared in a period, by topic; moments in ISO form."""
        return self.get("/digest", DigestAnswer, since=since, until=until, limit=limit)

    def budget(self, *, account: str | None = None) -> BudgetAnswer:
        """What was spent this hour and day, and what is left."""
        return self.get("/budget", BudgetAnswer, account=account)

    def caps(self, *, account: str) -> CapsAnswer:
        """The caps that hold for an account."""
        return self.get("/budget/caps", CapsAnswer, account=account)

    def set_cap(self, scope: BudgetScope, wish: CapRequest) -> CapChange:
        """Change a cap; may be repeated."""
        with self._answering():
            response = self._http.put(f"/budget/caps/{scope}", json=wish.model_dump())
        return _read(response, CapChange)

    def unconfirmed(
        self, *, account: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> UnconfirmedAnswer:
        """Calls that may have been billed, oldest first."""
        return self.get("/budget/unconfirmed", UnconfirmedAnswer, account=account, limit=limit, cursor=cursor)

    def reconcile(self, request_id: str, wish: ReconcileRequest) -> Reconciled:
        """Say what an unconfirmed call really cost; may be repeated."""
        with self._answering():
            response = self._http.post(
                f"/budget/unconfirmed/{quote(request_id, safe='')}", json=wish.model_dump(exclude_none=True)
            )
        return _read(response, Reconciled)

    def alerts(self, *, account: str, limit: int = 50, cursor: str | None = None) -> AlertsAnswer:
        """Alerts about an account's budgets, newest first."""
        return self.get("/budget/alerts", AlertsAnswer, account=account, limit=limit, cursor=cursor)

    def get(self, path: str, kind: type[A], /, **asked: str | int | None) -> A:
        """Ask for what is at a path; None is not asked for."""
        return _read(self._get(path, **asked), kind)

    def content(self, path: str, **asked: str | int | None) -> bytes:
        """What is at a path, as it was sent; None is not asked for."""
        return _checked(self._get(path, **asked)).content

    def post(self, path: str, kind: type[A], wish: BaseModel | None = None) -> A:
        """Wish for something at a path."""
        with self._answering():
            response = self._http.post(path, json=None if wish is None else wish.model_dump(mode="json"))
        return _read(response, kind)

    def _get(self, path: str, /, **asked: str | int | None) -> httpx.Response:
        with self._answering():
            return self._http.get(path, params={name: value for name, value in asked.items() if value is not None})

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError as exc:  # a command line may hold any bytes
            raise ConfigurationError("What was given is not text in UTF-8: check its encoding.") from exc
        except httpx.TimeoutException as exc:
            raise Unavailable(f"The gateway at {self._base_url} did not answer in time; try again.") from exc
        except httpx.TransportError as exc:
            raise Unavailable(
                f"The gateway at {self._base_url} does not answer; is it running (`millrace up`)?"
            ) from exc


class _Watched(io.BufferedReader):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, progress: UploadProgress) -> None:
        super().__init__(path.open("rb", buffering=0))
        self._size = path.stat().st_size
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self._progress(self.tell(), self._size)
        return content


def _unseen(_sent: int, _size: int) -> None:
    """Nobody watches."""


def _key(idempotency_key: str | None) -> dict[str, str]:
    return {} if idempotency_key is None else {"idempotency-key": idempotency_key}


def _read(response: httpx.Response, kind: type[A]) -> A:
    try:
        return kind.model_validate_json(_checked(response).content)
    except ValidationError as exc:
        raise _stranger(response) from exc


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError as exc:
        raise _stranger(response) from exc
    # What the gateway waits for in vain is as far away for whoever asked the gateway.
    raise Unavailable(problem.detail) if response.status_code == _AWAY else ApiError(problem)


def _stranger(response: httpx.Response) -> Unavailable:
    url = response.request.url
    return Unavailable(
        f"What answers at {url.host}:{url.port} is not a Millrace gateway (status {response.status_code})."
    )
