"""The child process of `extraction.py`: `python -I program.py`, started by it only.

A line of JSON on its standard input says what to do; lines of JSON on its standard output say what came of it: first
`extracted` (or `page`, or `failed`), then, once its parent has sent another line, `done` or `failed`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

# Alone (-I), it knows only what is installed: this is where the package lies otherwise.
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from millrace.fetch.child.seal import Seal, limit


def main() -> None:
    """Work on one URL."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries print what they like; the answers' pipe is not theirs
    ask = json.loads(sys.stdin.readline())
    limit(parent=ask["parent"], seconds=ask["cpu_s"], file_bytes=ask["max_bytes"])
    folder = Path.cwd()
    seal = Seal(folder=folder, port=ask["proxy_port"])
    sys.path.pop(0)
    seal.close()

    def tell(kind: str, **more: object) -> None:
        answer = {"kind": kind, "kernel": seal.kernel, "breaches": sorted(set(seal.breaches)), **more}
        told.write(json.dumps(answer, allow_nan=False) + "\n")
        told.flush()

    from millrace.fetch.child.extract import Failure, Reader  # noqa: PLC0415 - yt-dlp comes behind the seal

    reader = Reader(ask, folder)
    try:
        info = ask["info"] or reader.extract()
        if info is None:
            tell("page", **reader.caption())
            return
        tell("extracted", info=info)
        if sys.stdin.readline():
            tell("done", extension=reader.download(info))
    except Failure as failure:
        tell("failed", code=failure.code)


if __name__ == "__main__":
    main()
