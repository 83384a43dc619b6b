"""What `millrace replay STAGE` runs: `python -m <agent> replay '<options as JSON>'`, with the agent's own settings.

It plans as the agent does, so that it knows which work is done already and what the rest may cost. Exit status:
0 done, 1 none of the shares was found, 2 the command line is wrong, 69 a part is away, 78 something must be changed
first, 130 interrupted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
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
from millrace.progress_line import ProgressPrinter
from millrace.settings import StageSettings
from millrace.startup import exit_status, load_settings, say
from millrace.store.blobs.opening import open_blobs
from millrace.store.database import Database
from millrace.store.pool import open_pool
from millrace.store.replays import ReplayRow, ReplayStore
from millrace.store.version import verify_migrated
from millrace.stream.connect import Resources
from millrace.stream.reader import Reader
from millrace.stream.replay import window
from millrace.stream.replay.log import EventLog, open_log
from millrace.stream.replay.options import ReplayOptions, read_options
from millrace.stream.replay.replayer import SOURCE, Found, Replayer, Wish
from millrace.stream.replay.report import Report, found_sentences, other_model
from millrace.stream.stage import E, R, StageHandler, StageSpec, looking
from millrace.stream.writer import Writer

S = TypeVar("S", bound=StageSettings)
BuildHandler = Callable[[S, Resources], AbstractAsyncContextManager[StageHandler[E, R]]]

NOT_FOUND: Final = 1
WRONG_COMMAND_LINE: Final = 2
INTERRUPTED: Final = 130


@dataclass(frozen=True)
class _Parts:
    """What is connected for one run."""

    store: ReplayStore
    log: EventLog
    replayer: Replayer


def main(spec: StageSpec, kind: type[S], build: BuildHandler[S, E, R], words: Sequence[str]) -> NoReturn:
    """Run as the command line says; ends the process."""
    try:
        options = read_options(words)
    except ValueError as exc:
        say(f"millrace replay {spec.name}", str(exc))
        raise SystemExit(WRONG_COMMAND_LINE) from None
    logging.basicConfig(level=logging.WARNING)
    report = Report(stage=spec.name, dry_run=options.dry_run)
    try:
        status = asyncio.run(_run(spec, load_settings(kind), build, options, report))
    except MillraceError as exc:
        say("millrace", str(exc))
        status = exit_status(exc)
    except KeyboardInterrupt:
        status = INTERRUPTED
        if report.replay_id is not None:
            say("millrace", f"stopped; go on with: millrace replay --resume {report.replay_id}")
    if options.as_json and status in (0, NOT_FOUND):
        sys.stdout.write(json.dumps(vars(report), indent=2) + "\n")
    raise SystemExit(status)


async def _run(
    spec: StageSpec, settings: S, build: BuildHandler[S, E, R], options: ReplayOptions, report: Report
) -> int:
    async with _connected(spec, settings, build, rate=options.rate) as parts:
        if options.resume is not None:
            return await _resume(parts, options.resume, report, as_json=options.as_json)
        found = await parts.replayer.find(
            await _stretches(parts.log, spec, options),
            Wish(options.shares, options.model, options.force, options.more),
        )
        report.take(found.chosen, found.estimate)
        if options.model is None:
            report.note = other_model(found.chosen, await parts.store.last_model(spec.name))
        if not options.as_json:
            sys.stdout.write("".join(f"{line}\n" for line in found_sentences(report)))
            sys.stdout.flush()
        if not report.shares or options.dry_run:
            return NOT_FOUND if report.missing and not report.shares else 0
        return await _begin(parts, found, options, report)


async def _begin(parts: _Parts, found: Found, options: ReplayOptions, report: Report) -> int:
    report.replay_id = found.replay.replay_id
    if not options.as_json:
        sys.stdout.write(f"Replay {report.replay_id}: publishing {found.replay.commands} commands.\n")
        sys.stdout.flush()
    await parts.replayer.begin(found)
    return await _ended(parts, report, as_json=options.as_json)


async def _resume(parts: _Parts, replay_id: str, report: Report, *, as_json: bool) -> int:
    replay = await parts.store.get(replay_id)
    if replay is None:
        raise ConfigurationError(f"There is no replay {replay_id}: `millrace replay --list` shows those there are.")
    report.replay_id, report.shares = replay.replay_id, replay.commands
    if replay.finished_at is None:
        await parts.replayer.resume(replay)
    return await _ended(parts, report, as_json=as_json)


async def _ended(parts: _Parts, report: Report, *, as_json: bool) -> int:
    replay: ReplayRow | None = await parts.store.get(report.replay_id or "")
    assert replay is not None  # noqa: S101 - it has just been written
    report.published, report.finished = replay.published, replay.finished_at is not None
    if not as_json:
        sys.stdout.write(
            f"{replay.published} commands are published; `millrace replay --list` shows what the stage has done.\n"
        )
    return 0


async def _stretches(log: EventLog, spec: StageSpec, options: ReplayOptions) -> list[window.Stretch]:
    named = window.ranges(options.offsets, spec.inputs)
    if named and options.since is not None:
        raise ConfigurationError("Give --since or --offsets, not both.")
    if named:
        return await log.kept(named)
    return await log.stretches(None if options.since is None else window.since(options.since, datetime.now(UTC)))


@asynccontextmanager
async def _connected(
    spec: StageSpec, settings: S, build: BuildHandler[S, E, R], *, rate: float
) -> AsyncIterator[_Parts]:
    catalog = Catalog.load(records=spec.records)
    await verify_topics(settings.cluster, catalog, (*spec.inputs, spec.requested))
    with Registry(settings.registry) as registry:
        codec = await Codec.connect(registry, catalog, (spec.requested,))
        async with open_pool(settings.postgres.get_secret_value(), size=4) as pool:
            await verify_migrated(pool)
            database = Database(pool)
            async with (
                open_blobs(settings, settings.blobs) as blobs,
                build(settings, Resources(database, blobs)) as handler,
                open_producer(settings.cluster) as producer,
                open_log(settings.cluster, spec.inputs) as log,
            ):
                store = ReplayStore(database)
                replayer = Replayer(
                    spec,
                    look=looking(handler),
                    store=store,
                    log_=log,
                    reader=Reader(codec, spec.inputs),
                    writer=lambda at: Writer(producer, codec, ManualClock(at), source=SOURCE, partitions={}),
                    told=ProgressPrinter("millrace"),
                    rate=rate,
                )
                yield _Parts(store, log, replayer)
