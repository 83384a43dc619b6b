"""`millrace embeddings` on a real database."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from millrace.cli.main import app
from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from millrace.stream.replay.options import ReplayOptions, read_options
from millrace.testing.registry import codec_in_memory
from services.api_gateway.passages import SEARCH_SETTINGS
from tests.integration.embedding import Embedding

OLD, NEW = "old-16", "new-24"


class Command:
    """The command, as it is typed beside a stack; and what is in its database."""

    def __init__(self, dsn: str, embedding: Embedding) -> None:
        self.embedding = embedding
        self._environment = {"MILLRACE_KAFKA": "-", "MILLRACE_REGISTRY": "-", "MILLRACE_POSTGRES": dsn}

    async def run(self, *words: str) -> Result:
        arguments = ["embeddings", *words]
        return await asyncio.to_thread(CliRunner().invoke, app, arguments, env=self._environment)


@pytest.fixture
async def command(empty_database: str, tmp_path: Path) -> AsyncIterator[Command]:
    await asyncio.to_thread(migrate, empty_database)
    async with open_pool(empty_database, settings=SEARCH_SETTINGS) as pool:
        yield Command(empty_database, Embedding(pool, await codec_in_memory(), tmp_path, OLD))


async def test_the_status_is_a_table_or_json(command: Command) -> None:
    assert (await command.run("status")).stdout == "Nothing was embedded yet.\n"
    message = await command.embedding.share("A wheel turns in the mill race all day long.")
    shown = (await command.run("status")).stdout
    assert "old-16" in shown
    assert "1 of 1 shares" in shown
    assert "each share is searched by the one that embedded it last" in shown
    await command.embedding.replay(message, model=NEW)
    document = json.loads((await command.run("status", "--json")).stdout)
    assert (document["search_model"], document["since"], document["shares"]) == (None, None, 1)
    assert [(one["model"], one["shares"], one["searched"]) for one in document["models"]] == [
        (NEW, 1, 1),
        (OLD, 1, 0),
    ]
    assert {one["rest_micro_usd"] for one in document["models"]} == {0}


async def test_a_switch_says_what_search_prefers_and_what_keeps_it_from_it(command: Command) -> None:
    message = await command.embedding.share("A wheel turns in the mill race all day long.")
    refused = await command.run("switch", NEW)
    assert (refused.exit_code, refused.stdout) == (78, "")
    assert refused.stderr == "millrace: The model new-24 has embedded nothing: see `millrace embeddings status`.\n"
    await command.embedding.replay(message, model=NEW)
    await command.embedding.share("Another one, of the old model alone.")
    refused = await command.run("switch", NEW)
    assert "has embedded 1 of 2 shares: go on with `millrace embeddings reembed --model new-24`" in refused.stderr
    forced = await command.run("switch", NEW, "--force")
    assert "Search prefers new-24" in forced.stdout
    refused = await command.run("drop", OLD)
    assert (refused.exit_code, refused.stdout) == (78, "")
    assert "1 shares are searched by old-16" in refused.stderr


async def test_reembedding_keeps_search_where_it_is_and_becomes_a_replay(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[str]] = []

    def execve(_path: str, argv: list[str], _environment: dict[str, str]) -> None:
        begun.append(argv)

    monkeypatch.setattr(os, "execve", execve)
    await command.embedding.share("A wheel turns in the mill race all day long.")
    await command.run("reembed", "--model", NEW, "--dry-run")
    assert (await command.embedding.search_models.standing()).chosen is None, "a dry run changes nothing"
    await command.run("reembed", "--model", NEW, "--since", "24h", "--json")
    assert (await command.embedding.search_models.standing()).chosen == OLD
    assert [argv[-3:-1] for argv in begun] == [["services.embed_agent", "replay"]] * 2
    assert read_options(begun[1][-1:]) == ReplayOptions(since="24h", model=NEW, as_json=True)
