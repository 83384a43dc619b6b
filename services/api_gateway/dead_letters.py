"""What people do about dead letters: look, redrive, discard; one by one or many at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

import asyncpg

from millrace.clock import Clock
from millrace.contracts.dead import DEAD_GATE
from millrace.contracts.dead_api import (
    Changed,
    DeadFilter,
    DeadLetter,
    DeadLettersAnswer,
    DeadState,
    ManyChanged,
    Refused,
    Selection,
)
from millrace.store.queueing import queue_failed
from millrace.store.wake import try_now
from millrace.text import has_nul
from services.api_gateway import dead_rows
from services.api_gateway.dead_commands import Codec, Command, command, decode
from services.api_gateway.errors import NotFound, NotNow
from services.api_gateway.outbox import enqueue

_COLUMNS = """
id, stage, state, share_id, error, reason, attempts, died_at, topic, "partition", "offset", origin_topic,
origin_partition, origin_offset, work_key, length(value) AS size_bytes, changed_at, changed_by, seq
"""
_PAGE = f"""
SELECT {_COLUMNS} FROM dead_letters
 WHERE ($1::text IS NULL OR stage = $1) AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR error = $3)
   AND ($4::text IS NULL OR share_id = $4) AND ($5::timestamptz IS NULL OR died_at >= $5)
   AND ($6::bigint IS NULL OR seq < $6)
 ORDER BY seq DESC LIMIT $7
"""  # noqa: S608  # constants
_ONE = f"SELECT {_COLUMNS}, key, value, headers, options, stack, service FROM dead_letters WHERE id = $1"  # noqa: S608
# The row is locked by this: of two people who decide at once, the second sees what the first has decided.
_CHANGE = """
UPDATE dead_letters SET state = $2, changed_at = now(), changed_by = $3 WHERE id = $1 AND state = ANY($4::text[])
RETURNING changed_at, changed_by
"""
_SELECTED = """
SELECT id, seq, count(*) OVER () AS matched, max(seq) OVER () AS last FROM dead_letters
 WHERE state = 'open' AND stage = $1 AND ($2::text IS NULL OR error = $2)
   AND ($3::timestamptz IS NULL OR died_at >= $3) AND seq > $4 AND ($5::bigint IS NULL OR seq <= $5)
 ORDER BY seq LIMIT $6
"""
_NONE = "There is no dead letter with this id."


class DeadLetterDesk:
    """Answers for dead letters; `wake` is called when a command waits in the outbox. `who` is who decides."""

    def __init__(
        self, pool: asyncpg.Pool[asyncpg.Record], codec: Codec, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._pool = pool
        self._codec = codec
        self._clock = clock
        self._wake = wake

    async def page(self, which: DeadFilter) -> DeadLettersAnswer:
        """At most `limit` letters, newest first."""
        rows = await self._pool.fetch(
            _PAGE,
            which.stage,
            which.state,
            which.error,
            which.share,
            which.since,
            None if which.cursor is None else int(which.cursor),
            which.limit + 1,
        )
        shown = rows[: which.limit]
        return DeadLettersAnswer(
            letters=[dead_rows.view(dict(row)) for row in shown],
            next=str(shown[-1]["seq"]) if len(rows) > which.limit else None,
        )

    async def show(self, letter_id: str) -> DeadLetter:
        """Everything about one letter.

        :raises NotFound: there is none.
        :raises Unavailable: the registry does not answer, so nobody knows what it says.
        """
        row = await self._row(letter_id)
        try:
            event = await decode(row["origin_topic"] or row["topic"], row["value"], self._codec)
        except NotNow as exc:
            return dead_rows.whole(row, unreadable=str(exc))
        return dead_rows.whole(row, event=event.model_dump(mode="json"))

    async def redrive(self, letter_id: str, who: str, together: str | None = None) -> Changed:
        """Send a letter's bytes to its stage again, with a fresh budget of attempts; once, however often it is asked.

        That it is redriven and the command are written in one transaction; the outbox publishes the command at least
        once, and the stage knows a repeat by the round that it carries.

        :param together: names the letters that are redriven at once; work that several of them need has one budget.
        :raises NotFound: there is none.
        :raises NotNow: it cannot be read, or nobody knows where it came from.
        :raises Unavailable: the registry does not answer.
        """
        row = await self._row(letter_id)
        if row["state"] == "redriven":
            return dead_rows.changed(row, repeated=True)
        made = await command(dead_rows.letter(row), self._codec, self._clock.now(), together)
        changed = await self._change(row, who, "redriven", ("open", "discarded"), made)
        self._wake()
        return changed

    async def discard(self, letter_id: str, who: str, _together: str | None = None) -> Changed:
        """Say that nothing is to be done about a letter; it stays, and may still be redriven.

        :raises NotFound: there is none.
        :raises NotNow: it was redriven.
        """
        row = await self._row(letter_id)
        if row["state"] == "discarded":
            return dead_rows.changed(row, repeated=True)
        return await self._change(row, who, "discarded", ("open",))

    async def redrive_many(self, which: Selection, who: str) -> ManyChanged:
        """Redrive open letters, oldest first; those that cannot be are told and stay open."""
        return await self._many(which, who, self.redrive)

    async def discard_many(self, which: Selection, who: str) -> ManyChanged:
        """Discard open letters, oldest first."""
        return await self._many(which, who, self.discard)

    async def _many(
        self, which: Selection, who: str, change: Callable[[str, str, str], Awaitable[Changed]]
    ) -> ManyChanged:
        after, through, together = _place(which.cursor)
        rows = await self._pool.fetch(_SELECTED, which.stage, which.error, which.since, after, through, which.limit)
        matched = rows[0]["matched"] if rows else 0
        if which.dry_run or not rows:
            return ManyChanged(matched=matched, changed=0)
        refused: list[Refused] = []
        changed = 0
        for row in rows:
            try:
                changed += not (await change(row["id"], who, together)).repeated
            except NotNow as exc:
                refused.append(Refused(id=row["id"], reason=str(exc)))
        more = f"{rows[-1]['seq']}.{rows[-1]['last']}.{together}" if matched > len(rows) else None
        return ManyChanged(matched=matched, changed=changed, refused=refused, next=more)

    async def _row(self, letter_id: str) -> dead_rows.Row:
        row = None if has_nul(letter_id) else await self._pool.fetchrow(_ONE, letter_id)
        if row is None:
            raise NotFound(_NONE)
        return dict(row)

    async def _change(
        self,
        row: dead_rows.Row,
        who: str,
        to: DeadState,
        allowed: tuple[DeadState, ...],
        made: Command | None = None,
    ) -> Changed:
        async with self._pool.acquire() as connection, connection.transaction():
            changed = await connection.fetchrow(_CHANGE, row["id"], to, who, list(allowed))
            if changed is not None and made is not None:
                # Whoever redrives has mended something: the stage need not wait before it tries a job.
                await try_now(connection, row["stage"], DEAD_GATE)
                await queue_failed(connection, made.share_id, row["stage"])
                await enqueue(connection, made.message)
        if changed is not None:
            return dead_rows.changed({**row, **changed, "state": to}, repeated=False)
        now = await self._row(row["id"])
        if now["state"] == to:
            return dead_rows.changed(now, repeated=True)
        raise NotNow(f"It was {now['state']} at {now['changed_at']:%Y-%m-%d %H:%M} UTC by {now['changed_by']}.")


def _place(cursor: str | None) -> tuple[int, int | None, str]:
    """Behind which letter to go on, which one is the last, and what they are called together."""
    if cursor is None:
        return 0, None, uuid4().hex
    after, through, together = cursor.split(".")
    return int(after), int(through), together
