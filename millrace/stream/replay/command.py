"""What `millrace replay STAGE` runs: `python -m <agent> replay`, with the agent's own settings.

It plans as the agent does, so that it knows which work is done already and what the rest may cost. Exit status:
0 done, 1 none of the shares was found, 69 a part is away, 78 something must be changed first, 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NoReturn, TypeVar

from millrace.clock import ManualClock
from millrace.contracts.catalog import Catalog
from millrace.contracts.provision import verify_topics
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.errors import ConfigurationError, MillraceError
from millrace.kafka.producer import open_producer
from millrace.settings import StageSettings
from millrace.startup import exit_status, load_settings, say
from millrace.store.blobs import LocalBlobStore
from millrace.store.database import Database
from millrace.store.pool import open_pool
from millrace.store.replays import ReplayRow, ReplayStore
from millrace.store.version import verify_migrated
from millrace.stream.connect import Resources
from millrace.stream.reader import Reader
from millrace.stream.replay import window
from millrace.stream.replay.log import EventLog, open_log
from millrace.stream.replay.replayer import SOURCE, Found, Replayer, Wish
from millrace.stream.replay.report import Report, found_sentences, other_model
from millrace.stream.stage import E, R, StageHandler, StageSpec, looking
from millrace.stream.writer import Writer

S = TypeVar("S", bound=StageSettings)
BuildHandler = Callable[[S, Resources], AbstractAsyncContextManager[StageHandler[E, R]]]

NOT_FOUND: Final = 1
INTERRUPTED: Final = 130
RATE: Final = 500.0
_TELL_EVERY_S: Final = 2.0


@dataclass(frozen=True)
class _Parts:
    """What is connected for one run."""

    store: ReplayStore
    log: EventLog
    replayer: Replayer


class _Teller:
    """Says how far it is on standard error, at most every two seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, sentence: str) -> None:
        now = time.monotonic()
        if now - self._last >= _TELL_EVERY_S:
            self._last = now
            say("millrace", sentence)


def main(spec: StageSpec, kind: type[S], build: BuildHandler[S, E, R], options: Sequence[str]) -> NoReturn:
    """Run as the command line says; ends the process."""
    chosen = _arguments(spec).parse_args(options)
    logging.basicConfig(level=logging.WARNING)
    report = Report(stage=spec.name, dry_run=chosen.dry_run)
    try:
        status = asyncio.run(_run(spec, load_settings(kind), build, chosen, report))
    except MillraceError as exc:
        say("millrace", str(exc))
        status = exit_status(exc)
    except KeyboardInterrupt:
        status = INTERRUPTED
        if report.replay_id is not None:
            say("millrace", f"stopped; go on with: millrace replay --resume {report.replay_id}")
    if chosen.json and status in (0, NOT_FOUND):
        sys.stdout.write(json.dumps(vars(report), indent=2) + "\n")
    raise SystemExit(status)


def _arguments(spec: StageSpec) -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog=f"millrace replay {spec.name}", description=__doc__)
    arguments.add_argument("--since", help="only events since then: 2026-11-27T14:30 (UTC), or 24h ago")
    arguments.add_argument("--offsets", action="append", default=[], metavar="TOPIC:PARTITION:FROM-TO")
    arguments.add_argument("--share", action="append", metavar="ID", help="only this share; may be repeated")
    arguments.add_argument("--force", action="store_true", help="do finished work again, and pay for it")
    arguments.add_argument("--model", help="use this model instead of the stage's own")
    arguments.add_argument("--dry-run", action="store_true", help="say what would be done and what it may cost")
    arguments.add_argument("--resume", metavar="REPLAY", help="go on with a replay that was stopped")
    arguments.add_argument("--rate", type=float, default=RATE, help="most commands a second")
    arguments.add_argument("--json", action="store_true", help="one JSON document on standard output")
    return arguments


async def _run(
    spec: StageSpec, settings: S, build: BuildHandler[S, E, R], chosen: argparse.Namespace, report: Report
) -> int:
    async with _connected(spec, settings, build, rate=chosen.rate) as parts:
        if chosen.resume is not None:
            return await _resume(parts, chosen, report)
        found = await parts.replayer.find(
            await _stretches(parts.log, spec, chosen), Wish(chosen.share, chosen.model, chosen.force)
        )
        report.take(found)
        if chosen.model is None:
            report.note = other_model(found, await parts.store.last_model(spec.name))
        if not chosen.json:
            sys.stdout.write("".join(f"{line}\n" for line in found_sentences(report)))
            sys.stdout.flush()
        if not report.shares or chosen.dry_run:
            return NOT_FOUND if report.missing and not report.shares else 0
        return await _begin(parts, found, chosen, report)


async def _begin(parts: _Parts, found: Found, chosen: argparse.Namespace, report: Report) -> int:
    report.replay_id = found.replay.replay_id
    if not chosen.json:
        sys.stdout.write(f"Replay {report.replay_id}: publishing {found.replay.commands} commands.\n")
        sys.stdout.flush()
    await parts.replayer.begin(found)
    return await _ended(parts, report, as_json=chosen.json)


async def _resume(parts: _Parts, chosen: argparse.Namespace, report: Report) -> int:
    replay = await parts.store.get(chosen.resume)
    if replay is None:
        raise ConfigurationError(
            f"There is no replay {chosen.resume}: `millrace replay --list` shows those there are."
        )
    report.replay_id, report.shares = replay.replay_id, replay.commands
    if replay.finished_at is None:
        await parts.replayer.resume(replay)
    return await _ended(parts, report, as_json=chosen.json)


async def _ended(parts: _Parts, report: Report, *, as_json: bool) -> int:
    replay: ReplayRow | None = await parts.store.get(report.replay_id or "")
    assert replay is not None  # noqa: S101 - it has just been written
    report.published, report.finished = replay.published, replay.finished_at is not None
    if not as_json:
        sys.stdout.write(
            f"{replay.published} commands are published; `millrace replay --list` shows what the stage has done.\n"
        )
    return 0


async def _stretches(log: EventLog, spec: StageSpec, chosen: argparse.Namespace) -> list[window.Stretch]:
    named = window.ranges(chosen.offsets, spec.inputs)
    if named and chosen.since is not None:
        raise ConfigurationError("Give --since or --offsets, not both.")
    if named:
        return await log.kept(named)
    return await log.stretches(None if chosen.since is None else window.since(chosen.since, datetime.now(UTC)))


@asynccontextmanager
async def _connected(
    spec: StageSpec, settings: S, build: BuildHandler[S, E, R], *, rate: float
) -> AsyncIterator[_Parts]:
    if rate <= 0:
        raise ConfigurationError("--rate is a number of commands a second, above 0.")
    catalog = Catalog.load(records=spec.records)
    await verify_topics(settings.kafka, catalog, (*spec.inputs, spec.requested))
    with Registry(settings.registry) as registry:
        codec = await Codec.connect(registry, catalog, (spec.requested,))
        async with open_pool(settings.postgres.get_secret_value(), size=4) as pool:
            await verify_migrated(pool)
            database = Database(pool)
            async with (
                build(settings, Resources(database, LocalBlobStore(settings.blobs))) as handler,
                open_producer(settings.kafka) as producer,
                open_log(settings.kafka, spec.inputs) as log,
            ):
                store = ReplayStore(database)
                replayer = Replayer(
                    spec,
                    look=looking(handler),
                    store=store,
                    log_=log,
                    reader=Reader(codec, spec.inputs),
                    writer=lambda at: Writer(producer, codec, ManualClock(at), source=SOURCE, partitions={}),
                    told=_Teller(),
                    rate=rate,
                )
                yield _Parts(store, log, replayer)
