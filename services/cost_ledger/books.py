"""`python -m services.cost_ledger.books audit|rebuild [--json] [--wait S]`: the ledger's books, proved or made anew.

`audit` holds everything that the ledger has written beside its log of decisions, and decides all requests once more
where the log still has the first one. It may run while the ledger works. `rebuild` makes all of it anew from the log;
the ledger must not run meanwhile. `millrace budget audit|rebuild` call this with the addresses of the running stack.

Exit status: 0 all agree, 1 there are differences, 69 a part is away, 70 what is written cannot be read, 78 something
must be changed first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from typing import Final

from confluent_kafka import KafkaException

from millrace.errors import MillraceError, Poison, Unavailable
from millrace.startup import EXIT_CRASHED, exit_status, load_settings, say
from millrace.store.pool import OUTAGES
from services.cost_ledger.auditor import audit
from services.cost_ledger.connections import Report, open_books
from services.cost_ledger.log import Broken
from services.cost_ledger.rebuilder import rebuild
from services.cost_ledger.settings import LedgerSettings

WAIT_S: Final = 30.0


def main() -> None:
    """Run, print, exit."""
    arguments = argparse.ArgumentParser(prog="millrace budget", description=__doc__)
    arguments.add_argument("what", choices=("audit", "rebuild"))
    arguments.add_argument("--json", action="store_true", help="one JSON document")
    arguments.add_argument("--wait", type=float, default=WAIT_S, help="seconds that an audit gives what is behind")
    chosen = arguments.parse_args()
    logging.basicConfig(level=logging.WARNING)
    try:
        report = asyncio.run(_run(load_settings(LedgerSettings), chosen.what, chosen.wait))
    except (Broken, Poison) as exc:
        say("millrace", str(exc))
        raise SystemExit(EXIT_CRASHED) from None
    except MillraceError as exc:
        say("millrace", str(exc))
        raise SystemExit(exit_status(exc)) from None
    if chosen.json:
        sys.stdout.write(json.dumps(vars(report), indent=2) + "\n")
    else:
        sys.stdout.write(_read_out(chosen.what, report))
    raise SystemExit(0 if report.ok else 1)


async def _run(settings: LedgerSettings, what: str, wait_s: float) -> Report:
    began = time.monotonic()
    try:
        async with open_books(settings) as books:
            report = await (audit(books, wait_s) if what == "audit" else rebuild(books))
    except OUTAGES as exc:
        raise Unavailable(f"PostgreSQL does not answer ({type(exc).__name__})") from exc
    except KafkaException as exc:
        raise Unavailable(
            f"Kafka has not done what was asked ({exc.args[0].str()}): see that its brokers run, then run this again"
        ) from exc
    report.took_s = round(time.monotonic() - began, 1)
    return report


def _read_out(what: str, report: Report) -> str:
    span = "from the beginning of the log" if report.since is None else f"since {report.since}"
    if what == "rebuild":
        changed = ", ".join(f"{place} {rows}" for place, rows in report.changed.items()) or "none"
        return f"Rebuilt from {report.decisions} decisions {span}. Rows that changed: {changed}.\n"
    again = f", {report.decided_again} requests decided again" if report.decided_again else ""
    if report.ok:
        return f"The books agree: {report.decisions} decisions {span}{again}; rows, tables, topic and journal.\n"
    lines = [
        f"{one['place']}: {one['about']}: the log says {one['log']}, found {one['found']}"
        for one in report.differences
    ]
    more = report.difference_count - len(lines)
    return "\n".join([f"{report.difference_count} differences:", *lines, *([f"and {more} more"] if more else []), ""])


if __name__ == "__main__":
    main()
