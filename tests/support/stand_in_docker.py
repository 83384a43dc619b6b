"""A stand-in for `docker`, as no container engine is where tests run: it notes what it is asked and plays healths.

It is first on the PATH as a program named `docker`. The folder that STAND_IN_DOCKER names holds `play.json`, what it
answers, and `asked`, a line for each call.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(os.environ["STAND_IN_DOCKER"])


def main(words: list[str]) -> int:
    """Note the call and answer it as the play says."""
    play: dict[str, Any] = json.loads((FOLDER / "play.json").read_text())
    with (FOLDER / "asked").open("a") as asked:
        asked.write(json.dumps(words) + "\n")
    if words[:2] == ["compose", "version"]:
        print(play["version"])
        return int(play["version_status"])
    if words[0] == "version":
        print(play["daemon_says"], file=sys.stderr)
        return int(play["daemon_status"])
    command = next(word for word in words if word in {"config", "ps", "up", "exec", "logs", "down"})
    if command == "up":
        print(play["up_says"])
        time.sleep(play["up_s"])
        return int(play["up_status"])
    if command == "ps":
        looks = FOLDER / "looks"
        seen = len(looks.read_text()) if looks.exists() else 0
        looks.write_text("." * (seen + 1))
        print("\n".join(json.dumps(one) for one in play["looks"][min(seen, len(play["looks"]) - 1)]))
    elif command == "exec":
        print(json.dumps({"token": "the-token", "link": "http://127.0.0.1:8080/#sign-in=the-link"}))
    else:
        print(play[command])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
