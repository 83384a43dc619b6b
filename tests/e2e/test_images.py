"""Each service run from the packages of its own image and nothing else: sound and a text go the whole way."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareRequest
from millrace.embedded.process import last_lines, launcher_argv
from millrace.embedded.signing import commands_token
from millrace.testing.media import JFK_WAV
from scripts.image_parts import DOCKERFILE, Target, install, targets
from tests.support.process import free_port, is_ready
from tests.support.stack import own_stack
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TARGETS: Final = targets(DOCKERFILE.read_text())
SECRET: Final = "0123456789abcdef0123456789abcdef"
TEXT: Final = "The mill stands by the river. Water turns the wheel, and the wheel turns the stone. " * 12


@contextmanager
def running(target: Target, folder: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """A service by its image's command, from its image's packages; the address that says whether it is ready."""
    python = install(target, folder / "packages")
    port, log = str(free_port()), folder / "log"
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        **settings,
        "PYTHONDONTWRITEBYTECODE": "1",
        "MILLRACE_HTTP_PORT" if target.name == "api-gateway" else "MILLRACE_OPS_PORT": port,
    }
    program = launcher_argv((str(python), *target.command[1:]))
    with log.open("wb") as output:
        process = subprocess.Popen(program, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT)

    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def test_shares_go_the_whole_way_on_the_packages_of_images(tmp_path: Path) -> None:
    (tmp_path / "stack").mkdir()
    with ExitStack() as everything:
        addresses = everything.enter_context(own_stack(tmp_path / "stack"))
        settings = {
            "MILLRACE_KAFKA": addresses.kafka,
            "MILLRACE_REGISTRY": addresses.registry,
            "MILLRACE_POSTGRES": addresses.postgres,
            "MILLRACE_BLOBS": str(tmp_path / "media"),
            "MILLRACE_JWT_SECRET": SECRET,
        }
        folders = {name: tmp_path / name for name in TARGETS}
        for folder in folders.values():
            folder.mkdir()
        millrace = install(TARGETS["setup"], folders["setup"] / "packages").with_name("millrace")
        for words in (("topics", "apply"), ("schemas", "register"), ("database", "migrate")):
            subprocess.run(
                (millrace, *words), env=settings, cwd=tmp_path, check=True, capture_output=True, timeout=90
            )
        urls = {
            name: everything.enter_context(running(target, folders[name], settings))
            for name, target in TARGETS.items()
            if target.module
        }
        for name, url in urls.items():
            until(partial(is_ready, url), f"{name}: {last_lines(folders[name] / 'log', 30)}", 120)
        token = commands_token(SECRET, "somebody", datetime.now(UTC))
        client = everything.enter_context(Client(urls["api-gateway"], token=token))
        shares = [client.upload(JFK_WAV, ShareRequest()).share_id, client.add(ShareRequest(text=TEXT)).share_id]
        for share_id in shares:
            assert client.wait(share_id, within_s=120).state == "done"
        assert client.search("the wheel")
