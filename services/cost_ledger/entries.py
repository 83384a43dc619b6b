"""The journal beside the entries that the log calls for, in PostgreSQL: where they differ, and how to mend that."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from millrace.store.database import rows_changed
from services.cost_ledger import sums
from services.cost_ledger.audit import SHOWN, Differences
from services.cost_ledger.journal import COLUMNS, entry
from services.cost_ledger.spend import Decided
from services.cost_ledger.sums import Connection, apart

PLACE: Final = "ledger_entries"

# Of each partition, only as far as the log was read: older entries stay, newer ones are not known here.
_JOINED = f"""
WITH bounds AS (
    SELECT partition, min(request_offset) AS lowest, max(request_offset) AS highest
      FROM log_entries GROUP BY partition
), journal AS (
    SELECT {COLUMNS} FROM ledger_entries JOIN bounds USING (partition)
     WHERE request_offset BETWEEN lowest AND highest
)
"""  # noqa: S608  # constants
_BEGIN = f"""
DROP TABLE IF EXISTS log_entries;
CREATE TEMPORARY TABLE log_entries AS SELECT {COLUMNS} FROM ledger_entries WITH NO DATA;
"""  # noqa: S608  # constants
_DIFFERENT = f"""{_JOINED}
SELECT coalesce(log.partition, journal.partition) AS partition,
       coalesce(log.request_offset, journal.request_offset) AS request_offset,
       to_jsonb(log)::text AS log, to_jsonb(journal)::text AS journal, count(*) OVER () AS found
  FROM log_entries AS log FULL JOIN journal
    ON (log.partition, log.request_offset) = (journal.partition, journal.request_offset)
 WHERE ROW(log.*) IS DISTINCT FROM ROW(journal.*)
   AND NOT (journal.partition IS NULL
            AND log.request_offset > coalesce(($1::text::jsonb ->> log.partition::text)::bigint, 9223372036854775807))
 ORDER BY 1, 2 LIMIT $2
"""  # noqa: S608  # constants
_REMOVE = f"""{_JOINED}
DELETE FROM ledger_entries AS entry USING journal
  LEFT JOIN log_entries AS log
    ON (log.partition, log.request_offset) = (journal.partition, journal.request_offset)
 WHERE (entry.partition, entry.request_offset) = (journal.partition, journal.request_offset)
   AND ROW(log.*) IS DISTINCT FROM ROW(journal.*)
"""  # noqa: S608  # constants
_ADD = f"INSERT INTO ledger_entries ({COLUMNS}) SELECT {COLUMNS} FROM log_entries ON CONFLICT DO NOTHING"  # noqa: S608  # constants
_TRIGGERS = "ALTER TABLE ledger_entries {0} TRIGGER ledger_entries_append_only, {0} TRIGGER ledger_entries_added_up"


class LogEntries:
    """The entries of the log, in a temporary table of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def begin(self) -> None:
        """Start with none."""
        await self._connection.execute(_BEGIN)

    async def add(self, decided: Sequence[Decided]) -> None:
        """Decisions of the log; the opening of a day has no entry."""
        records = [entry(*one) for one in decided if one.decision.outcome != "day-opened"]
        await self._connection.copy_records_to_table(
            "log_entries", records=records, columns=COLUMNS.replace('"', "").split(", ")
        )

    async def compare(self, required: Mapping[int, int], differences: Differences) -> None:
        """Add what differs, of the sums of the entries, too.

        :param required: by partition, the request that the journal must have reached by now.
        """
        rows = await self._connection.fetch(_DIFFERENT, json.dumps(required), SHOWN)
        for row in rows:
            log, journal = json.loads(row["log"] or "null"), json.loads(row["journal"] or "null")
            about = f"partition {row['partition']}, request {row['request_offset']}"
            differences.add(PLACE, about, apart(log, journal), apart(journal, log))
        differences.count += (rows[0]["found"] if rows else 0) - len(rows)
        await sums.compare(self._connection, differences)

    async def mend(self) -> dict[str, int]:
        """Make the journal's entries those of the log, and its sums those of its entries: rows changed by table.

        One transaction. The table takes additions only, and adds them up; its owner lifts both for it, and nobody
        else writes to it meanwhile.
        """
        async with self._connection.transaction():
            await self._connection.execute(_TRIGGERS.format("DISABLE"))
            removed = await self._connection.execute(_REMOVE)
            added = await self._connection.execute(_ADD)
            changed = {PLACE: max(rows_changed(removed), rows_changed(added)), **await sums.mend(self._connection)}
            await self._connection.execute(_TRIGGERS.format("ENABLE"))
        return changed
