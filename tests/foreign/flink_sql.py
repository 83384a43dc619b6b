"""Flink SQL sums the ledger's decisions, and agrees with the ledger or does not.

    python -m tests.foreign.flink_sql [--json] [--hours 5] [--calls 600] [--seed 1] [--control uncommitted|overrun]

Starts a stack of its own and the real ledger, spends in every way there is while workers are killed and transactions
aborted, has Flink run deploy/flink/spend_per_hour.sql, and compares each hour, account and scope to the micro-dollar
with the ledger's journal, with `cost.spend`, and with what callers were told. A control breaks the statement: it must
disagree.

The first run downloads 300 MB. The last line is one JSON object; status 0: agrees, 1: does not, 2: could not run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from tests.chaos.command import say
from tests.foreign.flink import FLINK, flink_jars, install, run_sql, spend_sql
from tests.foreign.spending import Book, own_ledger, spend
from tests.integration.ledger import TestLedger
from tests.support.kafka import read_all
from tests.support.stack import own_stack

TOTAL: Final = "total"
_AGREES_WITHIN_S: Final = 30.0
_CONTROLS: Final = {
    "uncommitted": ("'read_committed'", "'read_uncommitted'"),
    "overrun": ("THEN actual_micro_usd", "THEN actual_micro_usd - overrun_micro_usd"),
}
"""What is put in the place of what; the first must be in the file."""


class Hour(NamedTuple):
    """Whose spend, and in which hour."""

    account: str
    scope: str
    start: datetime


class Sums(NamedTuple):
    """In micro-US-dollars, and how many calls were granted."""

    settled: int
    held: int
    unconfirmed: int
    overrun: int
    calls: int


Spend = dict[Hour, Sums]


@dataclass
class Report:
    """What was done and what came of it."""

    seed: int
    control: str | None
    flink: str = FLINK
    ok: bool = False
    decisions: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    aborted_records: int = 0
    kills: int = 0
    rows: int = 0
    hours: int = 0
    settled_micro_usd: int = 0
    spending_s: float = 0.0
    flink_s: float = 0.0
    differences: list[str] = field(default_factory=list)


async def compare(report: Report, hours: int, calls: int, folder: Path) -> None:
    """Do all of it; what differs is in the report."""
    python, jars = install(), flink_jars()
    with own_stack(folder / "stack") as stack:
        async with own_ledger(stack, folder) as made:
            began = time.monotonic()
            book = await spend(made, hours=hours, calls=calls, seed=report.seed)
            journal = await _settled_down(made)
            report.spending_s = round(time.monotonic() - began, 1)
            await _describe(report, made, book)
            sql = spend_sql(stack.kafka, stack.registry, made.topics.decisions)
            if report.control is not None:
                sql = _broken(sql, report.control)
            began = time.monotonic()
            rows = await asyncio.to_thread(run_sql, python, sql, jars, folder)
            report.flink_s = round(time.monotonic() - began, 1)
            found = {
                Hour(str(row["account"]), str(row["scope"]), _utc(str(row["hour_start"]))): _sums(row) for row in rows
            }
            if len(found) != len(rows):
                report.differences.append("Flink has two rows of the same hour")
            found = _moved(found)
            report.rows, report.hours = len(found), len({hour.start for hour in found})
            report.settled_micro_usd = sum(sums.settled for sums in found.values())
            report.differences += differences("journal", journal, found)
            report.differences += differences("cost.spend", await _published(made), found)
            report.differences += _told(book, found)


def differences(name: str, ours: Spend, found: Spend) -> list[str]:
    """Where the ledger's sums are not Flink's; its totals are compared with the sums over Flink's scopes."""
    theirs = dict(found)
    for hour, sums in found.items():
        total = hour._replace(scope=TOTAL)
        theirs[total] = Sums(*map(sum, zip(theirs.get(total, Sums(0, 0, 0, 0, 0)), sums, strict=True)))
    return [
        f"{name}: {hour.account}, {hour.scope}, {hour.start:%d %H:00}: {ours.get(hour)}, Flink {theirs.get(hour)}"
        for hour in sorted(ours.keys() | theirs.keys())
        if ours.get(hour) != theirs.get(hour)
    ]


def _told(book: Book, found: Spend) -> list[str]:
    """Callers know what they have paid, not in which hour that counts."""
    settled: Counter[tuple[str, str]] = Counter()
    for hour, sums in found.items():
        settled[hour.account, hour.scope] += sums.settled
    return [
        f"callers have paid {book.settled[key]} in {key}, Flink says {settled[key]}"
        for key in sorted(book.settled.keys() | settled.keys())
        if book.settled[key] != settled[key]
    ]


def _broken(sql: str, control: str) -> str:
    old, new = _CONTROLS[control]
    if old not in sql:
        raise LookupError(f"the statement does not say {old}")
    return sql.replace(old, new)


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _sums(row: dict[str, object]) -> Sums:
    names = ("settled_micro_usd", "held_micro_usd", "unconfirmed_micro_usd", "overrun_micro_usd", "calls")
    return Sums(*(int(str(row[name])) for name in names))


async def _settled_down(made: TestLedger) -> Spend:
    """The journal's hours, once every request is decided and in it, and `cost.spend` says the same.

    :raises RuntimeError: the ledger does not agree with itself in time.
    """
    deadline = time.monotonic() + _AGREES_WITHIN_S
    connection = await asyncpg.connect(made.database)
    try:
        while True:
            requests = len(await made.requests())
            entries = await connection.fetchval("SELECT count(*) FROM ledger_entries")
            found = await connection.fetch("SELECT * FROM ledger_hourly")
            journal = _moved({Hour(row["account"], row["scope"], row["start"]): _sums(dict(row)) for row in found})
            published = await _published(made)
            if entries == requests and journal == published:
                return journal
            if time.monotonic() > deadline:
                apart = [
                    hour for hour in journal.keys() | published.keys() if journal.get(hour) != published.get(hour)
                ]
                raise RuntimeError(
                    f"{requests} requests, {entries} entries; journal and cost.spend differ in {apart[:3]}"
                )
            await asyncio.sleep(0.5)
    finally:
        await connection.close()


async def _published(made: TestLedger) -> Spend:
    rows = (await made.spend()).values()
    hours = [row for row in rows if row.window == "hour"]
    return _moved({Hour(row.account, row.scope, row.start): _sums(row.model_dump()) for row in hours})


def _moved(spend: Spend) -> Spend:
    """Without hours in which nothing was granted: a cap alone, or a refusal, makes a row in some places."""
    return {hour: sums for hour, sums in spend.items() if any(sums)}


async def _describe(report: Report, made: TestLedger, book: Book) -> None:
    decisions = await made.decisions()
    report.decisions = len(decisions)
    report.outcomes = dict(Counter(decision.outcome for _, decision in decisions))
    report.kills = book.kills
    everything = await asyncio.to_thread(_count_uncommitted, made.stack.kafka, made.topics.decisions)
    report.aborted_records = everything - len(
        await asyncio.to_thread(read_all, made.stack.kafka, made.topics.decisions)
    )
    expected = {"granted", "denied", "settled", "released", "unconfirmed", "reconciled"}
    if not expected <= report.outcomes.keys() or report.aborted_records < book.aborted:
        raise RuntimeError(f"nothing to compare: {report.outcomes}, {report.aborted_records} aborted")


def _count_uncommitted(kafka: str, topic: str) -> int:
    """Records of a topic, those of aborted transactions, too."""
    settings = {"bootstrap.servers": kafka, "group.id": "uncommitted", "enable.partition.eof": True, "log_level": 0}
    consumer = Consumer(settings | {"isolation.level": "read_uncommitted", "enable.auto.commit": False})
    try:
        numbers = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers])
        count, ended = 0, set[int | None]()
        while len(ended) < len(numbers):
            for message in consumer.consume(1000, 0.3):
                if message.error() is None:
                    count += 1
                else:
                    ended.add(message.partition())
        return count
    finally:
        consumer.close()


def main(arguments: list[str]) -> int:
    """See the top."""
    parser = argparse.ArgumentParser(prog="python -m tests.foreign.flink_sql", description=__doc__)
    parser.add_argument("--json", action="store_true", help="nothing but the last line")
    parser.add_argument("--hours", type=int, default=5)
    parser.add_argument("--calls", type=int, default=600, help="calls of models an hour")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", choices=sorted(_CONTROLS))
    options = parser.parse_args(arguments)
    report = Report(options.seed, options.control)
    folder = Path(tempfile.mkdtemp(prefix="millrace-flink-"))
    status = 2
    try:
        (folder / "stack").mkdir()
        asyncio.run(compare(report, options.hours, options.calls, folder))
        report.ok = not report.differences
        status = 0 if report.ok else 1
        shutil.rmtree(folder)
    except (Exception, pytest.fail.Exception):  # noqa: BLE001  # whatever it was says nothing about the sums
        traceback.print_exc()
        say(f"Could not run; logs: {folder}")
    if not options.json:
        for sentence in report.differences[:20]:
            say(sentence)
    sys.stdout.write(f"{json.dumps(asdict(report))}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
