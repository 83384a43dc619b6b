"""Fixtures over the real parts."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from millrace.embedded.readyfile import Addresses
from millrace.fetch.extraction import compile_extractors
from millrace.models.wordllama import WordLlamaModel
from millrace.store.database import Database
from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from millrace.testing.registry import codec_in_memory
from tests.integration.gateway import Gateway, open_gateway, provision
from tests.support.database import own_database
from tests.support.job_bench import Bench


@pytest.fixture(scope="session")
async def compiled() -> None:
    """yt-dlp as an agent has it once it has started: its children start at once."""
    await compile_extractors()


@pytest.fixture
def unique() -> str:
    """A short name that no other test uses, for topics, groups and subjects."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
async def empty_database(stack: Addresses, unique: str) -> AsyncIterator[str]:
    """URL of an empty database of the test's own (no migrations applied), dropped afterwards."""
    async with own_database(stack.postgres, unique) as url:
        yield url


@pytest.fixture(scope="session")
async def migrated(stack: Addresses) -> AsyncIterator[str]:
    """URL of a database with all migrations, shared by the tests of a run; each uses ids of its own."""
    async with own_database(stack.postgres) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="module")
async def database(migrated: str) -> AsyncIterator[Database]:
    """The migrated database, open."""
    async with open_pool(migrated) as pool:
        yield Database(pool)


@pytest.fixture
async def bench(database: Database) -> Bench:
    """A runner of jobs, and a share of the test's own."""
    return Bench(database, await codec_in_memory())


@pytest.fixture(scope="module")
async def model(stack: Addresses) -> WordLlamaModel:
    """What all gateways of a module share, once topics and schemas are there."""
    await provision(stack)
    return WordLlamaModel()


@pytest.fixture
async def gateway(stack: Addresses, migrated: str, tmp_path: Path, model: WordLlamaModel) -> AsyncIterator[Gateway]:
    """A gateway of the test's own over the real parts."""
    async with open_gateway(stack, migrated, tmp_path, model) as opened:
        yield opened
