"""How `millrace budget audit` and `rebuild` end when they cannot be done: one sentence, and no status of theirs."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import KafkaError, KafkaException

from millrace.errors import Poison, Unavailable
from services.cost_ledger import books
from services.cost_ledger.log import Broken

AWAY = KafkaException(KafkaError(KafkaError._TRANSPORT, "Broker transport failure"))


@asynccontextmanager
async def opened(*_: object) -> AsyncIterator[None]:
    """Nothing needs to be connected."""
    yield


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (AWAY, 69, "Broker transport failure): see that its brokers run"),
        (ConnectionRefusedError(), 69, "PostgreSQL does not answer"),
        (Unavailable("cost.rows-0 cannot be read"), 69, "cost.rows-0 cannot be read"),
        (Broken("cost.rows-0 took a fence: start again"), 70, "took a fence: start again"),
        (Poison("A message on cost.spend is too short"), 70, "A message on cost.spend is too short"),
    ],
)
def test_what_keeps_them_from_it_is_a_sentence_and_a_status(
    error: Exception, status: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fails(*_: object) -> None:
        raise error

    for name in ("KAFKA", "REGISTRY", "POSTGRES"):
        monkeypatch.setenv(f"MILLRACE_{name}", "x")
    monkeypatch.setattr(books, "open_books", opened)
    for what in ("audit", "rebuild"):
        monkeypatch.setattr(books, what, fails)
        monkeypatch.setattr(sys, "argv", ["books", what])
        with pytest.raises(SystemExit) as ended:
            books.main()
        assert ended.value.code == status
        said = capsys.readouterr().err
        assert says in said
        assert said.count("\n") == 1
