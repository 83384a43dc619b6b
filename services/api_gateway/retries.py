"""Letting stages of a share work again: what failed or was cancelled, or one stage as somebody wants it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from uuid import uuid4

import asyncpg

from millrace.clock import Clock
from millrace.contracts.catalog import Catalog
from millrace.contracts.dead import ORIGIN_HEADER, ROUND_HEADER, Place
from millrace.contracts.events import ShareCreated, ShareEvent, StageName, StageRequested
from millrace.contracts.share_api import RetryAnswer, StageWish
from millrace.errors import Poison
from millrace.store.database import Connection
from millrace.store.queueing import forgive_calls
from millrace.text import has_nul
from millrace.tracing.spans import trace_of
from services.api_gateway.errors import NotFound, NotNow
from services.api_gateway.origins import TOPICS, Kept, needs, origin
from services.api_gateway.outbox import enqueue
from services.api_gateway.ports import Encoder, OutboxMessage
from services.api_gateway.principal import Principal

REQUESTED_BY: Final = "api_gateway"
_NONE: Final = "There is no share with this id."
# For the length of the transaction: of two who ask at once, the second sees what the first has asked for.
_SHARE: Final = """
SELECT share_id, account, owner, source_kind, url, blob_key, text, filename, platform, content_type, title,
       description, language, tags, options, created_at
  FROM shares WHERE share_id = $1 AND owner = $2 FOR UPDATE
"""
_JOBS: Final = """
SELECT j.stage, j.state, j.work_key, w.result, w.cost_micro_usd, w.finished_at
  FROM jobs j LEFT JOIN work w ON w.work_key = j.work_key AND j.state IN ('done', 'skipped')
 WHERE j.share_id = $1
"""
_QUEUE_AGAIN: Final = """
UPDATE jobs SET state = 'queued', reason = NULL, progress = NULL, attempt = 0, cancelled_at = NULL,
       status_due = false, updated_at = now()
 WHERE share_id = $1 AND stage = ANY($2::text[]) AND state IN ('failed', 'cancelled')
"""
# With what they were asked to do: another model, or work anew, is other work, some of which may have been paid for.
_ASKED: Final = """
SELECT DISTINCT ON (stage) stage, options FROM dead_letters
 WHERE share_id = $1 AND stage = ANY($2::text[]) AND state = 'open' ORDER BY stage, seq DESC
"""
_DECIDED: Final = """
UPDATE dead_letters SET state = 'redriven', changed_at = now(), changed_by = $3
 WHERE share_id = $1 AND stage = ANY($2::text[]) AND state = 'open'
"""


class RetryDesk:
    """Writes the commands; `wake` is called when some wait in the outbox.

    What if the process dies? The jobs and their commands are written in one transaction, and the outbox publishes a
    command at least once; a repeat has the same turn and the same round, so a stage takes it for what it is.
    """

    def __init__(
        self,
        pool: asyncpg.Pool[asyncpg.Record],
        encoder: Encoder,
        catalog: Catalog,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._encoder = encoder
        self._catalog = catalog
        self._clock = clock
        self._wake = wake

    async def retry(self, share_id: str, who: Principal) -> RetryAnswer:
        """Try the stages of a share again that failed or were cancelled, each with a fresh budget of attempts.

        A stage whose input is there gets a command; one behind it waits for that, as in a new share. Finished work is
        not done again, and what calls have answered is not paid again. A stage that cannot be tried again this way is
        left as it is, with those that need it.

        :raises NotFound: there is no such share, or it is somebody else's.
        :raises NotAllowed: its account may not be charged.
        :raises NotNow: none of them can be tried again.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            share, jobs = await _read(connection, share_id, who)
            wanted = [job["stage"] for job in jobs if job["state"] in ("failed", "cancelled")]
            wanted.sort(key=self._catalog.place_of)
            asked = {row["stage"]: row["options"] for row in await connection.fetch(_ASKED, share_id, wanted)}
            commands, left = self._commands(wanted, share, _kept(jobs), asked)
            if wanted and not commands:
                raise NotNow(" ".join(left.values()))
            for message in commands.values():
                if message is not None:
                    await enqueue(connection, message)
            await forgive_calls(
                connection, share_id, [stage for stage, message in commands.items() if message is None]
            )
            await _queue(connection, share_id, list(commands), who)
        self._wake()
        return RetryAnswer(share_id=share_id, stages=list(commands), left=left)

    async def request(
        self, share_id: str, stage: StageName, wish: StageWish, who: Principal, *, idempotency_key: str | None = None
    ) -> RetryAnswer:
        """Let one stage work on a share as somebody wants it; with the same key once, however often it is asked.

        :raises NotFound: there is no such share, it is somebody else's, or it has no such stage.
        :raises NotAllowed: its account may not be charged.
        :raises NotNow: what the stage reads is not there, or cannot be made again.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            share, jobs = await _read(connection, share_id, who)
            if stage not in {job["stage"] for job in jobs}:
                raise NotFound(f"This share has no stage {stage}.")
            event = origin(stage, share, _kept(jobs))
            if event is None:
                raise NotNow(f"What {stage} reads is not there yet: the stage before it is not done.")
            turn = None if idempotency_key is None else _turn(idempotency_key, share_id, stage, wish, who)
            await enqueue(connection, self._command(stage, event, wish.options, force=wish.force, turn=turn))
            await _queue(connection, share_id, [stage], who)
        self._wake()
        return RetryAnswer(share_id=share_id, stages=[stage])

    def _commands(
        self,
        stages: Sequence[StageName],
        share: ShareCreated,
        kept: Mapping[StageName, Kept],
        asked: Mapping[StageName, Mapping[str, str]],
    ) -> tuple[dict[StageName, OutboxMessage | None], dict[StageName, str]]:
        """The command to each stage, None to one that waits for another; and why others are left."""
        commands: dict[StageName, OutboxMessage | None] = {}
        left: dict[StageName, str] = {}
        for stage in stages:
            try:
                event = origin(stage, share, kept)
                missing = [name for name in needs(stage, share) if name in left] if event is None else []
                if missing:
                    raise NotNow(f"It needs {missing[0]}, which cannot be tried again.")  # noqa: TRY301 - as others
                options = asked.get(stage) or {}
                commands[stage] = None if event is None else self._command(stage, event, options, force=False)
            except NotNow as exc:
                left[stage] = str(exc)
        return commands, left

    def _command(
        self,
        stage: StageName,
        event: ShareEvent,
        options: Mapping[str, str],
        *,
        force: bool,
        turn: str | None = None,
    ) -> OutboxMessage:
        topic, made_from = f"{stage}.requested", TOPICS[type(event)]
        try:
            request = StageRequested(
                share_id=event.share_id,
                account=event.account,
                stage=stage,
                reason="api",
                origin_topic=made_from,
                origin_key=event.share_id.encode(),
                origin_value=self._encoder.encode(made_from, event),
                options=dict(options),
                force=force,
                requested_by=REQUESTED_BY,
                requested_at=self._clock.now(),
            )
            value = self._encoder.encode(topic, request)
        except Poison as exc:
            raise NotNow(f"The command to {stage} cannot be written: {exc}") from exc
        about = {
            ROUND_HEADER: f"api:{turn or uuid4().hex}",
            ORIGIN_HEADER: str(Place(made_from)),
            "traceparent": str(trace_of(None)),
        }
        return OutboxMessage(topic, event.share_id.encode(), value, about)


def _turn(key: str, share_id: str, stage: StageName, wish: StageWish, who: Principal) -> str:
    """Names a request, so that a repeat is the same round of the stage: work anew is done, and paid for, once."""
    said = json.dumps([who.owner, share_id, stage, key, wish.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


async def _read(
    connection: Connection, share_id: str, who: Principal
) -> tuple[ShareCreated, Sequence[asyncpg.Record]]:
    share = None if has_nul(share_id) else await connection.fetchrow(_SHARE, share_id, who.owner)
    if share is None:
        raise NotFound(_NONE)
    who.must_have_account(share["account"])
    return ShareCreated.model_validate(dict(share)), await connection.fetch(_JOBS, share_id)


def _kept(jobs: Sequence[asyncpg.Record]) -> dict[StageName, Kept]:
    return {
        job["stage"]: Kept(job["work_key"], job["result"], job["cost_micro_usd"], job["finished_at"])
        for job in jobs
        if job["result"] is not None
    }


async def _queue(connection: Connection, share_id: str, stages: Sequence[StageName], who: Principal) -> None:
    """Show what failed or was cancelled as queued; its dead letters are decided about by that."""
    await connection.execute(_QUEUE_AGAIN, share_id, stages)
    await connection.execute(_DECIDED, share_id, stages, who.owner)
