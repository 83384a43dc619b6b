"""The seal of the fetching child, tried from within by code that means harm; and that no secret gets there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import psutil
import pytest
from aiohttp import web

import millrace
from millrace.errors import MillraceError
from millrace.fetch.child.landlock import NET_SINCE, SCOPES_SINCE
from millrace.fetch.proxy import GuardingProxy
from millrace.fetch.reach import Reach
from millrace.sealed import sealed_child
from millrace.testing.media import JFK_WAV
from services.media_agent.adapters import sources as sources_module
from tests.integration.test_sources import PAGE, Kept, shared, sources
from tests.support.listener import Listener, listening
from tests.support.media_site import Handler, MediaSite, media_site
from tests.support.tls_site import tls_site
from tests.support.unseen import unseen

pytestmark = [pytest.mark.usefixtures("compiled"), pytest.mark.timeout(60)]
ROOT = Path(millrace.__file__).parents[1]

# Runs in the child. Each act is tried as an extractor of yt-dlp could; what comes of it is told.
TRIES = """
import json, os, shutil, socket, subprocess, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from millrace.fetch.child.seal import Seal, limit
from millrace.fetch.child.landlock import restrict
out, inside, elsewhere, secret = os.dup(1), {inside}, Path({elsewhere!r}), Path({secret!r})
limit(parent=os.getppid(), seconds=20, file_bytes=100_000)
if {kernel_only}:
    fenced = restrict(port={proxy}, folder=Path.cwd(), readable=[Path(os.__file__).parent])
else:
    from millrace.fetch.child import seal as module
    module.restrict = lambda **_: 0  # the hook alone
    seal = Seal(folder=Path.cwd(), port={proxy})
    seal.close()
    fenced = seal.kernel

def connect(address, family=socket.AF_INET):
    with socket.socket(family) as sock:
        sock.settimeout(2)
        sock.connect(address)

def send_datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("127.0.0.1", inside))

acts = {{
    "connect": lambda: connect(("127.0.0.1", inside)),
    "connect-public": lambda: connect(("192.0.2.1", 80)),
    "connect-unix": lambda: connect("/run/some.sock", socket.AF_UNIX),
    "resolve": lambda: socket.getaddrinfo("example.org", 80),
    "datagram": send_datagram,
    "listen": lambda: socket.socket().bind(("127.0.0.1", 0)),
    "spawn": lambda: subprocess.run(["/bin/true"]),
    "system": lambda: os.system("true"),
    "fork": lambda: os.fork() or os._exit(0),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "posix-spawn": lambda: os.posix_spawn("/bin/true", ["true"], {{}}),
    "write": lambda: (elsewhere / "new").write_text("x"),
    "append": lambda: open(secret, "a").close(),
    "raw-write": lambda: os.close(os.open(elsewhere / "raw", os.O_CREAT | os.O_WRONLY)),
    "append-to-code": lambda: open(restrict.__code__.co_filename, "a").close(),
    "make-folder": lambda: (elsewhere / "folder").mkdir(),
    "remove": lambda: secret.unlink(),
    "rename": lambda: secret.rename(elsewhere / "moved"),
    "rename-here": lambda: secret.rename("stolen"),
    "link": lambda: os.symlink(secret, "link"),
    "hard-link": lambda: os.link(secret, "hard"),
    "read": lambda: secret.read_text(),
    "read-parent": lambda: Path("/proc/{parent}/environ").read_bytes(),
    "list": lambda: os.listdir(elsewhere),
    "kill": lambda: os.kill({parent}, 0),
    "ctypes": lambda: __import__("ctypes").CDLL(None).getpid(),
    "too-large": lambda: Path("large").write_bytes(bytes(200_000)),
    "own-file": lambda: (Path("mine").write_text("x"), Path("mine").rename("media.mp4"))[1],
    "own-proxy": lambda: connect(("127.0.0.1", {proxy})),
    "import": lambda: __import__("wave"),
}}
only = {only!r} or list(acts)
told = {{}}
for name in only:
    try:
        acts[name]()
        told[name] = "done"
    except Exception as exc:
        told[name] = type(exc).__name__
os.write(out, json.dumps({{"fenced": fenced, "told": told}}).encode() + b"\\n")
"""
ALLOWED = {"own-file", "own-proxy", "import"}
KERNEL = ("connect", "listen", "exec", "write", "append", "raw-write", "make-folder", "remove", "rename", "read")


@pytest.fixture
async def inside() -> AsyncIterator[Listener]:
    async with listening() as listener:
        yield listener


async def tried(tmp_path: Path, inside: Listener, proxy: Listener, *only: str) -> tuple[int, dict[str, str]]:
    folder, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "secret").write_text("kept")
    program = TRIES.format(
        root=str(ROOT),
        inside=inside.port,
        proxy=proxy.port,
        elsewhere=str(elsewhere),
        secret=str(elsewhere / "secret"),
        parent=os.getpid(),
        only=list(only),
        kernel_only=bool(only),
    )
    async with sealed_child((sys.executable, "-I", "-B", "-c", program), folder=folder) as child:
        line = await child.hear()
    assert line is not None, "the program itself is broken"
    answer = json.loads(line)
    assert sorted(path.name for path in elsewhere.iterdir()) == ["secret"]
    assert (elsewhere / "secret").read_text() == "kept"
    return answer["fenced"], answer["told"]


async def test_from_within_the_child_there_is_only_the_proxy_and_its_folder(tmp_path: Path, inside: Listener) -> None:
    async with listening() as proxy:
        _, told = await tried(tmp_path, inside, proxy)
        assert {name for name, what in told.items() if what == "done"} == ALLOWED, told
        assert len(proxy.came) == 1
    assert told["too-large"] == "OSError", "the kernel's limit on files"
    refused = {what for name, what in told.items() if name not in ALLOWED and name != "too-large"}
    assert refused == {"Breach"}, told
    assert inside.came == []


async def test_where_the_kernel_can_it_refuses_the_same_without_python(tmp_path: Path, inside: Listener) -> None:
    async with listening() as proxy:
        fenced, told = await tried(tmp_path, inside, proxy, *KERNEL, "kill", "own-file", "own-proxy")
    if fenced < NET_SINCE:
        pytest.skip("this kernel has no Landlock, or one that knows files only")
    done = {name for name, what in told.items() if what == "done"}
    assert done - {"kill"} == {"own-file", "own-proxy"}, told
    assert ("kill" in done) == (fenced < SCOPES_SINCE)
    assert inside.came == []


async def test_a_child_takes_its_own_children_with_it(tmp_path: Path) -> None:
    program = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    async with sealed_child((sys.executable, "-I", "-c", program), folder=tmp_path) as child:
        grandchild = psutil.Process(int(await child.hear() or b"0"))
        assert grandchild.is_running()
        pid = child.pid
    assert not psutil.pid_exists(pid)
    gone, alive = await asyncio.to_thread(psutil.wait_procs, [grandchild], 5)
    assert gone, alive


CANARIES = {
    "OPENAI_API_KEY": "canary-openai-key",
    "MILLRACE_POSTGRES": "postgresql://user:canary-postgres@127.0.0.1/db",
    "AWS_SECRET_ACCESS_KEY": "canary-s3-secret",
    "HTTPS_PROXY": "http://user:canary-proxy@127.0.0.1:9",
}
TOKEN = "canary-signed-token"


def redirected(to: str) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": to})

    return answer


async def hangs_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def shown_by(pid: int) -> list[str]:
    """What all processes of this machine may see of one; nothing of one that has ended, as PostgreSQL's often do."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [Path("/proc", str(pid), name).read_text(errors="replace") for name in ("cmdline", "environ")]
    return []


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[MediaSite]:
    async with media_site(tmp_path) as made:
        yield made


async def test_no_secret_is_in_a_child_a_log_an_error_or_an_event(
    site: MediaSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.DEBUG)
    passwords: list[str] = []
    seen: list[str] = []

    class Noted(GuardingProxy):
        async def __aenter__(self) -> Self:
            await super().__aenter__()
            passwords.append(self.url)
            return self

    monkeypatch.setattr(sources_module, "GuardingProxy", Noted)

    async def media(_: web.Request) -> web.Response:
        """In the middle of a download: what do others of this machine see of it?"""
        for process in psutil.Process().children(recursive=True):
            seen.extend(await asyncio.to_thread(shown_by, process.pid))
        return web.Response(status=500, text=f"failed with {TOKEN}")

    site.answers = {
        "/page.html": PAGE.replace("{src}", f"/v.mp4?X-Signature={TOKEN}"),
        "/v.mp4": media,
        "/speech.html": PAGE.replace("{src}", f"/speech.wav?X-Signature={TOKEN}"),
        "/speech.wav": await asyncio.to_thread(JFK_WAV.read_bytes),
        "/bracket": redirected(f"http://[{TOKEN}"),
        "/label": redirected(f"http://{'a' * 70}.example/?X-Signature={TOKEN}"),
        "/closes": redirected(f"http://{site.place}/hang-up?X-Signature={TOKEN}"),
        "/hang-up": hangs_up,
    }
    texts: list[str] = []
    for path in ("/page.html", "/bracket", "/label", "/closes"):
        with pytest.raises(MillraceError) as failed:
            await sources(site, Kept()).fetch(site.url(path), tmp_path / "it", unseen)
        texts.extend(traceback.format_exception(failed.value))  # as it goes into a dead letter
    assert any("program.py" in one for one in seen), "the child was looked at"
    assert passwords
    secrets = ["canary", *(url.split(":")[2].split("@")[0] for url in passwords)]
    event = await shared(site, "/speech.html", tmp_path / "store")
    texts += [*seen, caplog.text, event.model_dump_json()]
    assert '"audio_codec":"pcm_s16le"' in texts[-1], "the media behind the signed address was taken"
    for secret in secrets:
        assert not any(secret in text for text in texts), secret


# As the program of the child; who trusts the certificate of this test has it where certifi has its own.
OVER_TLS = """
import json, sys
sys.path.insert(0, {root!r})
if {without_requests}:
    sys.modules["requests"] = None  # an extra that the agent's own installation does not have
from pathlib import Path
from millrace.fetch.child.seal import Seal
seal = Seal(folder=Path.cwd(), port={port})
seal.close()
import certifi
if {trusting}:
    certifi.where = lambda: "server.pem"
from millrace.fetch.child.extract import Failure, Reader
try:
    reader = Reader(dict(url={url!r}, proxy={proxy!r}, max_bytes=10**6, idle_s=5), Path.cwd())
    came = reader.download(reader.extract())
except Failure as failure:
    came = failure.code
print(json.dumps([came, seal.breaches]), flush=True)
"""


@pytest.mark.parametrize(("trusting", "without_requests"), [(True, True), (True, False), (False, True)])
async def test_tls_goes_through_the_proxy_and_certificates_are_checked(
    tmp_path: Path, trusting: bool, without_requests: bool
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/page.html":
            return web.Response(text=PAGE.replace("{src}", "/v.mp4"), content_type="text/html")
        return web.Response(body=b"x" * 5000, content_type="video/mp4")

    async with tls_site(answer, tmp_path) as port:
        place = f"localhost:{port}"
        async with GuardingProxy(Reach(frozenset({place})), max_bytes=10**6, timeout_s=30, idle_s=5) as proxy:
            program = OVER_TLS.format(
                root=str(ROOT),
                without_requests=without_requests,
                trusting=trusting,
                port=proxy.port,
                proxy=proxy.url,
                url=f"https://{place}/page.html",
            )
            async with sealed_child((sys.executable, "-I", "-B", "-c", program), folder=tmp_path) as child:
                expected = "mp4" if trusting else "network"
                assert json.loads(await child.hear() or b"null") == [expected, []]
            assert proxy.bytes > 1000, "it was asked in any case"
    media = tmp_path / "media.mp4"
    assert media.exists() == trusting
    assert not trusting or media.stat().st_size == 5000
