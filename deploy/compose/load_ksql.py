"""`python load_ksql.py URL FOLDER`: gives ksqlDB the statements of a folder's .sql files, in order of their names.

Needs nothing but Python. What is there already stays as it is, so this may be done again. Ends 0, or 1 and says why.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_WITHIN_S: Final = 120.0
_PIECE: Final = re.compile(r"--[^\n]*|'(?:[^']|'')*'|`[^`]*`|;|[^-'`;]+|.", re.DOTALL)
_SET: Final = re.compile(r"SET\s+'([^']+)'\s*=\s*'([^']*)'", re.IGNORECASE)
_THERE: Final = "with the same name already exists"


class Refused(Exception):
    """ksqlDB did not take a statement; the text is a sentence."""


def statements(text: str) -> Iterator[str]:
    """The statements of a file, without comments. Pure."""
    now = ""
    for piece in _PIECE.findall(text):
        if piece == ";":
            yield f"{now.strip()};"
            now = ""
        elif not piece.startswith("--"):
            now += piece
    if now.strip():
        yield f"{now.strip()};"


def give(url: str, statement: str, properties: Mapping[str, str]) -> bool:
    """Give ksqlDB one statement; returns whether it is new.

    :raises Refused: it refuses the statement, or does not answer.
    """
    body = json.dumps({"ksql": statement, "streamsProperties": dict(properties)}).encode()
    headers = {"Content-Type": "application/vnd.ksql.v1+json"}
    request = urllib.request.Request(f"{url}/ksql", body, headers)  # noqa: S310 - the URL is our own
    try:
        with urllib.request.urlopen(request, timeout=_WITHIN_S) as answer:  # noqa: S310 - as above
            answer.read()
    except urllib.error.HTTPError as exc:
        reason = _reason(exc.read())
        if _THERE in reason:
            return False
        raise Refused(f"ksqlDB refuses `{statement.splitlines()[0]}`: {reason}") from exc
    except OSError as exc:
        raise Refused(f"ksqlDB does not answer at {url} ({exc}).") from exc
    return True


def load(url: str, text: str) -> tuple[int, int]:
    """Give ksqlDB all statements of a file: how many are new, and how many were there.

    SET holds for the statements behind it, but at the server only for those of one request: it is told with each.

    :raises Refused: see `give`.
    """
    properties: dict[str, str] = {}
    new = there = 0
    for statement in statements(text):
        if setting := _SET.match(statement):
            properties[setting[1]] = setting[2]
        elif give(url, statement, properties):
            new += 1
        else:
            there += 1
    return new, there


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"]).strip().splitlines()[0]
    except (ValueError, KeyError, TypeError, IndexError):
        return body.decode(errors="replace")[:300] or "without a reason"


def main(url: str, folder: str) -> int:
    """Exit status: 0 all are there, 1 not."""
    files = sorted(Path(folder).glob("*.sql"))
    if not files:
        sys.stderr.write(f"There are no statements in {folder}.\n")
        return 1
    try:
        for file in files:
            new, there = load(url.rstrip("/"), file.read_text(encoding="utf-8"))
            sys.stdout.write(f"{file.name}: {new} statements taken, {there} were there\n")
    except Refused as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:3]))
