"""What the routes of budgets need of the ledger and its journal together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import asyncpg

from millrace.contracts.events import CostDecision
from millrace.errors import Unavailable

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.05
_SHOWN_WITHIN_S = 2.0
_COUNT = """
SELECT count(*) FROM ledger_entries
  JOIN unnest($1::text[], $2::bigint[]) AS decided (request_id, request_offset) USING (request_id, request_offset)
"""


async def shown(
    pool: asyncpg.Pool[asyncpg.Record], decisions: Sequence[CostDecision], within_s: float = _SHOWN_WITHIN_S
) -> None:
    """Wait a while for decisions to be in the journal, so that whoever reads next sees them."""
    ids, offsets = [one.request_id for one in decisions], [one.request_offset for one in decisions]
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while await pool.fetchval(_COUNT, ids, offsets) < len(decisions):  # noqa: ASYNC110  # rows have no events
                await asyncio.sleep(_LOOK_EVERY_S)


@contextmanager
def decided(otherwise: str) -> Iterator[None]:
    """Around asking the ledger.

    :raises Unavailable: it does not answer; the sentence says what that means (`otherwise`) and that asking again is
        safe.
    """
    try:
        yield
    except Unavailable as exc:
        log.warning("a request of a person was not decided: %s", exc)
        raise Unavailable(
            f"The cost ledger does not answer: {otherwise}. Ask again; what is decided already is not done twice."
        ) from exc
