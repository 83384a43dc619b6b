from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

import asyncpg
import pytest
from typer.testing import CliRunner

from millrace.cli.main import app
from millrace.errors import ConfigurationError
from millrace.startup import EXIT_CONFIGURATION, exit_status
from millrace.store.database import Database
from millrace.store.pool import open_pool

ODD = [
    "postgresql://millrace:s3/cret@127.0.0.1/db",
    "postgresql://millrace:s3#cret@127.0.0.1/db",
    "postgresql://millrace:s3[cret@127.0.0.1/db",
    "postgresql://millrace:s3?cret@127.0.0.1/db",
    "postgresql://millrace:s3cret@127.0.0.1:99999/db",
    "mysql://millrace:s3cret@127.0.0.1/db",
    "s3cret",
]


@pytest.mark.parametrize("dsn", ODD)
async def test_what_is_no_url_is_said_without_the_password(dsn: str) -> None:
    with pytest.raises(ConfigurationError, match="MILLRACE_POSTGRES is not the URL") as told:
        async with open_pool(dsn):
            pass
    assert exit_status(told.value) == EXIT_CONFIGURATION
    assert "s3" not in str(told.value)
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__


@pytest.mark.parametrize("dsn", ODD)
def test_a_migration_says_so_too(dsn: str) -> None:
    result = CliRunner().invoke(app, ["database", "migrate"], env={"MILLRACE_POSTGRES": dsn})
    assert result.exit_code == EXIT_CONFIGURATION
    assert "MILLRACE_POSTGRES is not the URL" in result.output
    assert "s3" not in result.output


ROWS: list[object] = ["row"]


class RefusingPool:
    """Refuses so many statements, then lets them in."""

    def __init__(self, refusals: int) -> None:
        self.left = refusals

    async def fetch(self, *_: object) -> Sequence[object]:
        if self.left:
            self.left -= 1
            raise asyncpg.InvalidPasswordError("password authentication failed")
        return ROWS


async def test_a_refusal_is_waited_for_and_said_once_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    database = Database(cast("asyncpg.Pool[asyncpg.Record]", RefusingPool(3)))
    with caplog.at_level(logging.WARNING):
        assert [*await database.fetch("SELECT")] == ROWS
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "MILLRACE_POSTGRES: correct" in caplog.text
