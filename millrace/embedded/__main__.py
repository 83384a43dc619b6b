"""Only Kafka, the registry and PostgreSQL: `python -m millrace.embedded --data DIR --ready-file PATH`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from millrace.embedded.errors import EmbeddedError
from millrace.embedded.paths import default_data
from millrace.embedded.readyfile import Ready
from millrace.embedded.signals import until_signal
from millrace.embedded.stack import PARTS, EmbeddedStack


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _serve(data: Path, ready_file: Path | None, parts: list[str]) -> None:
    async with EmbeddedStack(data, parts=parts, ready_file=ready_file, report=_say) as stack:
        stack.announce(lambda: Ready(stack.addresses, stack.processes))
        _say("ready")
        await asyncio.Event().wait()


def main() -> int:
    """Run the parts until a signal; exit code 0 after a signal, 1 with one sentence when they cannot run."""
    parser = argparse.ArgumentParser(prog="python -m millrace.embedded", description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data(), help="folder that keeps everything")
    parser.add_argument("--ready-file", type=Path, help="JSON with the addresses, there while the parts are ready")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, separated by commas")
    options = parser.parse_args()
    try:
        asyncio.run(until_signal(_serve(options.data, options.ready_file, options.parts.split(","))))
    except EmbeddedError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
