"""What the agent takes from a child that a page has taken over, and what becomes of a child whose agent dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from aiohttp import web

import millrace
from millrace.errors import MillraceError, Poison, Retryable
from millrace.fetch import extraction
from millrace.fetch.addresses import Reason, TargetRefused
from millrace.fetch.extraction import Limits, extracting
from millrace.fetch.proxy import GuardingProxy
from millrace.fetch.reach import Reach
from tests.support.site import site

pytestmark = pytest.mark.timeout(60)
ROOT = Path(millrace.__file__).parents[1]
EXTRACTED = {"kind": "extracted", "info": {"url": "https://cdn.example/v"}}
UNREADABLE = "no answer that can be read"
LIMITS = Limits(max_bytes=1000, extract_s=5, download_s=5, idle_s=5)


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A child that says what it likes, once it was asked."""

    def script(*lines: object, act: str = "") -> None:
        path = tmp_path / "taken-over.py"
        said = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text(
            f"import os, sys\nsys.stdin.readline()\n{act}\nfor one in {said!r}:\n    print(one, flush=True)\n"
        )
        monkeypatch.setattr(extraction, "_PROGRAM", path)

    return script


async def taken(folder: Path) -> Path:
    own = folder / "own"
    own.mkdir(exist_ok=True)
    async with (
        GuardingProxy(Reach(), max_bytes=1000, timeout_s=20, idle_s=5) as proxy,
        extracting("https://example.org/", proxy=proxy, folder=own, limits=LIMITS) as found,
    ):
        return await found.download()


async def test_a_link_is_not_taken_for_the_media(tmp_path: Path, says: Callable[..., None]) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of somebody else")
    done = {"kind": "done", "extension": "mp4"}
    for act in (f"os.symlink({str(secret)!r}, 'media.mp4')", "os.mkfifo('media.mp4')", "os.mkdir('media.mp4')", ""):
        says(
            EXTRACTED,
            done,
            act=f"import contextlib\nwith contextlib.suppress(OSError): os.remove('media.mp4')\n{act}",
        )
        with pytest.raises(Poison, match="left no file"):
            await taken(tmp_path)
    says(EXTRACTED, done, act="os.rmdir('media.mp4'); open('media.mp4', 'w').write('media')")
    assert (await taken(tmp_path)).name == "media.mp4"


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ((), "died"),
        (("no json",), UNREADABLE),
        (({"kind": "other"},), UNREADABLE),
        (({"kind": "page", "title": "x" * 20_000},), UNREADABLE),
        (({"kind": "extracted"},), UNREADABLE),
        (('{"kind": "page", "title": "\\ud800"}',), UNREADABLE),
        (({"kind": "done", "extension": "mp4"},), UNREADABLE),
        ((EXTRACTED, {"kind": "done", "extension": "../../etc/passwd"}), UNREADABLE),
        ((EXTRACTED, EXTRACTED), UNREADABLE),
        (({"kind": "failed", "code": "token=secret"},), "cannot be read from its site"),
        (({"kind": "failed", "code": "unknown", "breaches": ["secret token"]},), UNREADABLE),
    ],
)
async def test_what_is_no_answer_is_tried_again_and_never_repeated(
    tmp_path: Path, says: Callable[..., None], lines: tuple[object, ...], sentence: str
) -> None:
    says(*lines)
    with pytest.raises(Retryable, match=sentence) as failed:
        await taken(tmp_path)
    assert "secret" not in str(failed.value)
    assert failed.value.__cause__ is None


async def test_what_is_said_at_too_great_a_length_is_not_asked_for_again(
    tmp_path: Path, says: Callable[..., None]
) -> None:
    says("x" * 5_000_000)
    with pytest.raises(Poison, match="more than the 4 MiB") as failed:
        await taken(tmp_path)
    assert failed.value.__cause__ is None


@pytest.mark.parametrize(
    ("reason", "code", "sentence"),
    [
        ("port", "busy", "fewer requests"),
        ("port", "login", "signed in"),
        ("port", "network", "from port 22"),
        ("form", "forbidden", "from port 22"),
        ("address", "network", "public internet addresses only"),
        ("password", "network", "does not answer properly"),
    ],
)
async def test_a_refused_port_is_told_where_it_may_be_the_reason(
    tmp_path: Path, says: Callable[..., None], reason: Reason, code: str, sentence: str
) -> None:
    says({"kind": "failed", "code": code})
    async with GuardingProxy(Reach(), max_bytes=1000, timeout_s=20, idle_s=5) as proxy:
        proxy.refused[reason] += 1
        proxy.refusal = TargetRefused("not from port 22", reason) if reason in ("port", "form") else None
        with pytest.raises(MillraceError, match=sentence):
            async with extracting("https://example.org/", proxy=proxy, folder=tmp_path, limits=LIMITS):
                pass


async def test_every_word_of_a_child_has_its_sentence(tmp_path: Path, says: Callable[..., None]) -> None:
    for code, (route, sentence) in extraction.WHY.items():
        says({"kind": "failed", "code": code})
        with pytest.raises(MillraceError) as failed:
            await taken(tmp_path)
        assert isinstance(failed.value, route)
        assert str(failed.value) == sentence
        wait = failed.value.retry_after_s if isinstance(failed.value, Retryable) else None
        assert wait == (600 if code == "busy" else None)


AGENT = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from millrace.fetch.extraction import Limits, extracting
from millrace.fetch.proxy import GuardingProxy
from millrace.fetch.reach import Reach

async def main():
    limits = Limits(max_bytes=1000, extract_s=50, download_s=50, idle_s=50)
    async with GuardingProxy(Reach(frozenset([{place!r}])), max_bytes=1000, timeout_s=50, idle_s=50) as proxy:
        async with extracting("http://{place}/", proxy=proxy, folder=Path({folder!r}), limits=limits):
            pass

asyncio.run(main())
"""


async def test_a_child_ends_with_its_agent(tmp_path: Path) -> None:
    reached = asyncio.Event()

    async def stalls(_: web.Request) -> web.Response:
        reached.set()
        await asyncio.sleep(50)
        return web.Response()

    async with site(stalls) as port:
        program = AGENT.format(root=str(ROOT), place=f"127.0.0.1:{port}", folder=str(tmp_path))
        agent = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
        try:
            async with asyncio.timeout(20):
                await reached.wait()
            (child,) = psutil.Process(agent.pid).children()
        finally:
            os.kill(agent.pid, signal.SIGKILL)
            await agent.wait()
        _, alive = await asyncio.to_thread(psutil.wait_procs, [child], 5)
        assert alive == []
