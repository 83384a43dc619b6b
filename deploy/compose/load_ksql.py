"""`python load_ksql.py URL FOLDER`: gives ksqlDB the statements of a folder's .sql files, in order of their names.

Needs nothing but Python. The statements say IF NOT EXISTS, so they may be given again. Ends 0, or 1 with a sentence.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

_WITHIN_S: Final = 120.0


class Refused(Exception):
    """ksqlDB did not take a file; the text is a sentence."""


def load(url: str, file: Path) -> int:
    """Give ksqlDB one file; returns how many statements it took.

    :raises Refused: it refuses one of them, or does not answer.
    """
    body = json.dumps({"ksql": file.read_text(encoding="utf-8"), "streamsProperties": {}}).encode()
    headers = {"Content-Type": "application/vnd.ksql.v1+json"}
    request = urllib.request.Request(f"{url}/ksql", body, headers)  # noqa: S310 - the URL is our own
    try:
        with urllib.request.urlopen(request, timeout=_WITHIN_S) as answer:  # noqa: S310 - as above
            return len(json.load(answer))
    except urllib.error.HTTPError as exc:
        raise Refused(f"ksqlDB refuses {file.name}: {_reason(exc.read())}") from exc
    except OSError as exc:
        raise Refused(f"ksqlDB does not answer at {url} ({exc}).") from exc


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"]).strip().splitlines()[0]
    except (ValueError, KeyError, TypeError, IndexError):
        return body.decode(errors="replace")[:300] or "without a reason."


def main(url: str, folder: str) -> int:
    """Exit status: 0 all were taken, 1 not."""
    files = sorted(Path(folder).glob("*.sql"))
    if not files:
        print(f"There are no statements in {folder}.", file=sys.stderr)  # noqa: T201 - the log of the job
        return 1
    try:
        for file in files:
            print(f"{file.name}: {load(url.rstrip('/'), file)} statements")  # noqa: T201 - the log of the job
    except Refused as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - the log of the job
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:3]))
