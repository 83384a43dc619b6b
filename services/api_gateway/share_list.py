"""A page of somebody's shares, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import asyncpg

from millrace.contracts.catalog import Catalog
from millrace.contracts.share_api import ShareFilter, ShareRow, SharesAnswer, ShareState
from millrace.store.database import Connection
from services.api_gateway.domain import share_state
from services.api_gateway.share_pages import CANDIDATES, LOOKED_AT, Candidate, Page, Spot, cursor_of, spot_of

_FROM_THE_NEWEST: Final = Spot(datetime.max.replace(tzinfo=UTC), "")
_STATES = "ARRAY(SELECT state FROM jobs j WHERE j.share_id = s.share_id) AS states"
_OF_ALL = f"""
SELECT s.share_id, s.created_at, s.source_kind, s.account, {_STATES}
  FROM shares s
 WHERE s.owner = $1 AND (s.created_at, s.share_id) < ($2, $3)
 ORDER BY s.created_at DESC, s.share_id DESC LIMIT $4
"""  # noqa: S608  # constants
_OF_ONE_STATE = """
(SELECT DISTINCT shared_at, share_id FROM jobs
  WHERE owner = $1 AND state = '{state}' AND (shared_at, share_id) < ($2, $3)
  ORDER BY shared_at DESC, share_id DESC LIMIT $4)
"""
_OF_STATES = f"""
SELECT s.share_id, s.created_at, s.source_kind, s.account, {_STATES}
  FROM (SELECT * FROM ({{candidates}}) AS each ORDER BY shared_at DESC, share_id DESC LIMIT $4) AS c
  JOIN shares s USING (share_id)
 ORDER BY c.shared_at DESC, c.share_id DESC
"""  # noqa: S608  # constants
_ROWS = """
SELECT share_id, title, source_kind, url, filename, platform, content_type, tags, created_at FROM shares
 WHERE share_id = ANY($1::text[]) AND owner = $2 ORDER BY created_at DESC, share_id DESC
"""
_JOBS = "SELECT share_id, stage, state, progress, cost_micro_usd FROM jobs WHERE share_id = ANY($1::text[])"


def candidates_sql(state: ShareState | None) -> str:
    """The query of the shares that may belong to a list, a stretch of them.

    With 100,000 shares a page reads no more than a stretch: shares lie in the order of the list (`shares_in_order`),
    and so do the stages that are not over, by state (`jobs_unfinished`). The state of a share is that of all its
    stages, which are read for each candidate. Few of many candidates may fit (a share of which one stage is queued is
    mostly not queued as a whole), so a page with a filter ends after `LOOKED_AT` of them at the latest.

    Parameters: owner, the spot's time and id behind which to go on, the number of candidates.
    """
    if state is None or state not in CANDIDATES:
        return _OF_ALL
    parts = [_OF_ONE_STATE.format(state=one) for one in CANDIDATES[state]]
    return _OF_STATES.format(candidates=" UNION ".join(parts))


async def shares_page(
    pool: asyncpg.Pool[asyncpg.Record], catalog: Catalog, owner: str, which: ShareFilter
) -> SharesAnswer:
    """At most `limit` shares, from one snapshot of the database.

    :raises Unreadable: the cursor is none.
    """
    page = Page(which, next=_FROM_THE_NEWEST if which.cursor is None else spot_of(which.cursor))
    free = which.state is None and which.kind is None and which.account is None
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        for most in (which.limit + 1,) if free else LOOKED_AT:
            if page.take(await _candidates(connection, owner, which.state, page.next, most), most):
                break
        rows = await share_rows(connection, catalog, owner, [spot.share_id for spot in page.chosen])
    return SharesAnswer(shares=rows, next=None if page.next is None else cursor_of(page.next))


async def share_rows(
    connection: Connection, catalog: Catalog, owner: str, share_ids: Sequence[str]
) -> list[ShareRow]:
    """Those of these shares that are the owner's, newest first."""
    if not share_ids:
        return []
    shares = await connection.fetch(_ROWS, share_ids, owner)
    jobs: dict[str, list[asyncpg.Record]] = {}
    for job in await connection.fetch(_JOBS, share_ids):
        jobs.setdefault(job["share_id"], []).append(job)
    return [_row(share, jobs.get(share["share_id"], ()), catalog) for share in shares]


async def _candidates(
    connection: Connection, owner: str, state: ShareState | None, behind: Spot | None, most: int
) -> list[Candidate]:
    spot = behind or _FROM_THE_NEWEST
    found = await connection.fetch(candidates_sql(state), owner, spot.created_at, spot.share_id, most)
    return [
        Candidate(Spot(row["created_at"], row["share_id"]), row["source_kind"], row["account"], row["states"])
        for row in found
    ]


def _row(share: asyncpg.Record, jobs: Iterable[asyncpg.Record], catalog: Catalog) -> ShareRow:
    stages = sorted((dict(job) for job in jobs), key=lambda job: catalog.place_of(job["stage"]))
    return ShareRow.model_validate(
        {
            **dict(share),
            "state": share_state(job["state"] for job in stages),
            "cost_micro_usd": sum(job["cost_micro_usd"] for job in stages),
            "stages": [{name: job[name] for name in ("stage", "state", "progress")} for job in stages],
        }
    )
