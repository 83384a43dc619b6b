"""The schema registry, through Confluent's own client (also speaks to Apicurio under /apis/ccompat/v7).

Blocking; from a coroutine call it in a thread, as `millrace.contracts.wire` does.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from millrace.errors import ConfigurationError, Unavailable

T = TypeVar("T")

FULL_TRANSITIVE = "FULL_TRANSITIVE"
_TIMEOUT_S = 5
_RETRIES = 2


class SchemaSource(Protocol):
    """What reading and writing messages needs of a registry."""

    def lookup(self, subject: str, schema: str) -> int | None:
        """Id of that very schema under the subject; None when it is not registered there.

        :raises Unavailable: the registry does not answer.
        """
        ...

    def by_id(self, schema_id: int) -> str | None:
        """The schema of an id as JSON text; None when the registry does not know it.

        :raises Unavailable: the registry does not answer.
        """
        ...


class Registry:
    """A registry at its base URL, which may carry `user:password@`; answers about ids are cached.

    Holds connections: `close` it, or use it in a `with` statement.
    """

    def __init__(self, url: str, *, timeout_s: int = _TIMEOUT_S, retries: int = _RETRIES) -> None:
        self._shown = without_credentials(url)
        try:
            self._client = SchemaRegistryClient(
                {"url": url, "timeout": timeout_s, "max.retries": retries, "retries.wait.ms": 200}
            )
        except ValueError as exc:
            raise ConfigurationError(f"{self._shown} is not the URL of a schema registry.") from exc

    def lookup(self, subject: str, schema: str) -> int | None:
        """Id of that very schema under the subject; None when it is not registered there.

        :raises Unavailable: the registry does not answer.
        """
        return self._ask(lambda: self._client.lookup_schema(subject, Schema(schema, "AVRO")).schema_id)

    def by_id(self, schema_id: int) -> str | None:
        """The schema of an id as JSON text; None when the registry does not know it.

        :raises Unavailable: the registry does not answer.
        """
        return self._ask(lambda: self._client.get_schema(schema_id).schema_str)

    def register(self, subject: str, schema: str) -> int:
        """Register a schema, or find it registered; its id.

        :raises ConfigurationError: the registry refuses it (not compatible, not valid).
        :raises Unavailable: the registry does not answer.
        """
        found = self._ask(lambda: self._client.register_schema(subject, Schema(schema, "AVRO")))
        if found is None:
            raise ConfigurationError(
                f"The schema registry at {self._shown} has no subjects at all: is its path right?"
            )
        return found

    def compatible(self, subject: str, schema: str) -> bool:
        """Whether the schema could be registered beside all versions that the subject has; True when it has none.

        :raises Unavailable: the registry does not answer.
        """
        answer = self._ask(lambda: self._client.test_compatibility_all_versions(subject, Schema(schema, "AVRO")))
        return answer is not False

    def compatibility(self, subject: str) -> str | None:
        """The subject's own compatibility level; None when it has none.

        :raises Unavailable: the registry does not answer.
        """
        return self._ask(lambda: self._client.get_compatibility(subject))

    def require_compatibility(self, subject: str, level: str = FULL_TRANSITIVE) -> None:
        """Set the subject's compatibility level.

        :raises Unavailable: the registry does not answer.
        """
        self._ask(lambda: self._client.set_compatibility(subject, level))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the registry cannot be used afterwards."""
        self._client.close()

    def _ask(self, question: Callable[[], T | None]) -> T | None:
        """The answer; None for `not found`."""
        try:
            return question()
        except SchemaRegistryError as exc:
            if exc.http_status_code == HTTPStatus.NOT_FOUND:
                return None
            if exc.http_status_code in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
                raise ConfigurationError(
                    f"The schema registry at {self._shown} refuses the schema: {exc.error_message}"
                ) from exc
            if exc.http_status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise ConfigurationError(
                    f"The schema registry at {self._shown} refuses these credentials; check MILLRACE_REGISTRY."
                ) from exc
            raise Unavailable(
                f"The schema registry at {self._shown} answers with an error ({exc.http_status_code})."
            ) from exc
        except Exception as exc:
            # The client lets the errors of whichever HTTP library it found through, and those have no other base.
            raise Unavailable(
                f"The schema registry at {self._shown} does not answer ({type(exc).__name__})."
            ) from exc


def without_credentials(url: str) -> str:
    """A URL (or several, joined by commas) that may be shown: without user and password."""
    shown = []
    for part in url.split(","):
        pieces = urlsplit(part.strip())
        shown.append(urlunsplit(pieces._replace(netloc=pieces.netloc.rpartition("@")[2])))
    return ",".join(shown)
