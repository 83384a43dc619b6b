"""What the gateway says of itself in OpenAPI holds: schemathesis asks every operation, as a user and as an admin."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from millrace.clock import SystemClock
from millrace.contracts.api import PROBLEM
from millrace.embedded.readyfile import Addresses
from millrace.models.wordllama import WordLlamaModel
from millrace.tokens import ROLES, Role, mint
from services.api_gateway.app import create_app
from services.api_gateway.guard import LOOPBACK
from services.api_gateway.resources import Resources
from services.api_gateway.sign_in import Checks, SignIn
from tests.integration.gateway import add_chunks, open_gateway, provision
from tests.support.threaded import in_a_thread, serving

SECRET: Final = "of these tests alone, and of nobody else"
WITHIN_S: Final = 20.0
DRAWN: Final = 6
"""Examples of each operation and role, besides one for every limit and every form of its parameters."""
ENDED: Final = timedelta(seconds=-1)
"""A token that has just ended is taken for some seconds more (clocks differ), but its streams end at once."""
SILENT: Final = ("/budget/caps/{scope}", "/budget/unconfirmed/{request_id}")
"""Are answered by the ledger alone, which says nothing here."""
DESCRIBED: Final = schemathesis.openapi.from_dict(
    create_app(cast("Resources", None), LOOPBACK).openapi(), config=SchemathesisConfig()
)
CHECKS: Final = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@dataclass(frozen=True)
class Asked:
    """Where a gateway listens, and a share that is there."""

    url: str
    share_id: str


def token(role: Role, lasts: timedelta) -> dict[str, str]:
    signed = mint(SECRET, subject="ada", roles=[role], now=datetime.now(UTC), lasts=lasts)
    return {"authorization": f"Bearer {signed}"}


@asynccontextmanager
async def opened(stack: Addresses, database: str, folder: Path) -> AsyncIterator[Asked]:
    await provision(stack)
    async with open_gateway(stack, database, folder, WordLlamaModel()) as gateway:
        parts = replace(gateway.parts, sign_in=SignIn(SystemClock(), SECRET, None, Checks()))
        config = uvicorn.Config(create_app(parts, LOOPBACK), log_config=None, lifespan="off", server_header=False)
        async with serving(config) as url, httpx.AsyncClient(base_url=url) as http:
            file = {"file": ("talk.mp3", uuid.uuid4().bytes * 100, "audio/mpeg")}
            made = await http.post("/shares", files=file, headers=token("user", timedelta(hours=1)))
            share_id = str(made.json()["share_id"])
            await add_chunks(gateway, share_id, ["what was said first", "and what was said then"])
            yield Asked(url, share_id)


@pytest.fixture(scope="module")
def gateway(stack: Addresses, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with in_a_thread(opened(stack, migrated, tmp_path_factory.mktemp("described"))) as found:
        yield found


@pytest.mark.parametrize("role", ROLES)
@DESCRIBED.parametrize()
@settings(
    max_examples=DRAWN,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_answers_as_it_says(case: schemathesis.Case[Any], gateway: Asked, role: Role) -> None:
    lasts = ENDED if case.path.endswith("/events") else timedelta(hours=1)
    shares = [gateway.share_id] if "share_id" in case.path_parameters else []
    for share_id in (None, *shares):
        if share_id is not None:
            case.path_parameters["share_id"] = share_id
        response = case.call(base_url=gateway.url, headers=token(role, lasts), timeout=WITHIN_S)
        assert response.status_code < 500 or (response.status_code, case.path in SILENT) == (503, True), response.text
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400:
            assert response.headers["content-type"] == [PROBLEM]


@pytest.mark.parametrize(
    "path", ["/search?q=x&since=", "/search?q=x&until=", "/digest?since=", "/digest?until=", "/dead?since="]
)
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59"])
def test_a_moment_that_utc_does_not_have_is_refused(gateway: Asked, path: str, moment: str) -> None:
    """Schemathesis draws moments of this century."""
    answer = httpx.get(f"{gateway.url}{path}{moment}", headers=token("admin", timedelta(hours=1)))
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert "the years 1 to 9999 of UTC" in answer.json()["detail"]


def test_what_has_no_content_has_no_type_of_it(gateway: Asked) -> None:
    signed = {"token": token("user", timedelta(hours=1))["authorization"].removeprefix("Bearer ")}
    for answer in (httpx.post(f"{gateway.url}/session", json=signed), httpx.delete(f"{gateway.url}/session")):
        assert (answer.status_code, "content-type" in answer.headers) == (204, False)
