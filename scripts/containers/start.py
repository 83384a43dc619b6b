"""`scripts/start`: everything in containers, until all of it is healthy. Needs Python and Docker, and no package."""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .compose import Compose, last_line
from .console import STATUSES, TEMPORARY, Stopped, say, show, told
from .secret_files import SECRETS, make_secrets, write_token
from .state import Container, progress

GATEWAY: Final = "http://127.0.0.1:8080"
URLS: Final = {
    "page and API": GATEWAY,
    "Grafana": "http://127.0.0.1:3000",
    "Prometheus": "http://127.0.0.1:9090",
    "Jaeger": "http://127.0.0.1:16686",
    "Kafka UI": "http://127.0.0.1:8082",
    "ksqlDB": "http://127.0.0.1:8088",
    "schema registry": "http://127.0.0.1:8081/apis/ccompat/v7",
    "Kafka": "127.0.0.1:19092,127.0.0.1:19093,127.0.0.1:19094",
}
METRICS_TOKEN: Final = ("millrace", "token", "--user", "prometheus", "--user-only", "--days", "3650", "--json")
SIGN_IN_LINK: Final = ("millrace", "token", "--link", "--gateway", GATEWAY, "--json")
_LOOK_EVERY_S: Final = 1.0
_START: Final = (
    "Start everything in containers and wait until it is healthy. The first time this makes secrets in "
    "deploy/compose/secrets and builds the images, which takes some minutes."
)


def main(arguments: Sequence[str]) -> int:
    """`scripts/start`."""
    parser = argparse.ArgumentParser(prog="scripts/start", description=_START, epilog=STATUSES)
    parser.add_argument("--json", action="store_true", help="print one JSON document when all is up")
    parser.add_argument("--no-build", action="store_true", help="start the images that are there")
    parser.add_argument("--gpu", action="store_true", help="also a worker that transcribes on NVIDIA's GPU")
    parser.add_argument("--within", type=float, default=1800, metavar="S", help="seconds that it may take [1800]")
    given = parser.parse_args(arguments)
    compose = Compose(["gpu"] if given.gpu else [])
    return told(lambda: _start(compose, given.within, build=not given.no_build, as_json=given.json))


def _start(compose: Compose, within_s: float, *, build: bool, as_json: bool) -> None:
    compose.check()
    make_secrets(SECRETS)
    wanted = compose.services()
    log = SECRETS / "start.log"
    words = ("up", "--detach", "--remove-orphans", *(["--build"] if build else []))
    say(f"starting {len(wanted)} services; what Docker says of it is in {log}")
    _wait(compose, compose.begin(*words, log=log), wanted, within_s, log)
    write_token(SECRETS, _token(compose, METRICS_TOKEN)["token"])
    link = _token(compose, SIGN_IN_LINK)["link"]
    if as_json:
        show(json.dumps({"urls": URLS, "link": link, "secrets": str(SECRETS)}, indent=2))
        return
    for name, url in URLS.items():
        show(f"{name:<16}  {url}")
    show(f"Sign in to Grafana as admin, with the password in {SECRETS / 'grafana.env'}.")
    show(f"Sign in to the page, within 15 minutes: {link}")


def _wait(compose: Compose, up: subprocess.Popen[bytes], wanted: Sequence[str], within_s: float, log: Path) -> None:
    """Until all are healthy, telling each change.

    :raises Stopped: one failed, or it takes too long.
    """
    deadline, last = time.monotonic() + within_s, ""
    try:
        while True:
            ended = up.poll()  # before the look: what is seen then is what it left
            found = compose.look()
            line = progress(wanted, found)
            if line != last:
                say(line)
                last = line
            if ended is not None:  # until then containers of an earlier start may be there
                _check(compose, [found[name] for name in wanted if name in found])
            if ended:
                raise Stopped(f"docker compose up failed: {last_line(log.read_text(errors='replace'))} (see {log})")
            if ended == 0 and all(name in found and found[name].done for name in wanted):
                return
            if time.monotonic() > deadline:
                raise Stopped(f"Not all are healthy after {within_s:.0f} s: {line}.", TEMPORARY)
            time.sleep(_LOOK_EVERY_S)
    finally:
        if up.poll() is None:
            up.terminate()
            up.wait()


def _check(compose: Compose, found: Sequence[Container]) -> None:
    """:raises Stopped: a container has failed; the sentence has the end of its log."""
    for one in found:
        if one.failed or one.health == "unhealthy":
            said = compose.last_lines(one.service)
            raise Stopped(f"{one.service} is {one.words}." + (f" The end of its log:\n{said}" if said else ""))


def _token(compose: Compose, words: Sequence[str]) -> dict[str, str]:
    """Made by the gateway's own program, which has the secret in its environment."""
    answer = compose.ask("exec", "-T", "api-gateway", *words)
    found: dict[str, str] = json.loads(answer)
    return found
