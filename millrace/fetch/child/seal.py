"""What the child closes behind itself before it reads anything of strangers.

An audit hook (https://docs.python.org/3/library/audit_events.html) cannot be removed again. It refuses connections to
anything but the proxy, programs, and files outside of one folder. It is there for what libraries do by mistake or at
a page's wish; code that a page has smuggled in may go around it, meets the kernel's fence where there is one, and
finds no secret in any case.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import ssl
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from millrace.fetch.child.landlock import SHARED_LIBRARIES, restrict

_MEMORY = 2 << 30
_FILES = 256
_LOST = 3
_PR_SET_PDEATHSIG = 1
_LOOPBACK = "127.0.0.1"
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_HARMLESS = (
    "/dev/null",
    "/dev/urandom",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
)

_NEVER = frozenset(
    {"ctypes.call_function", "ctypes.cdata", "ctypes.dlopen", "ctypes.dlsym"}
    | {"gc.get_objects", "gc.get_referents", "gc.get_referrers", "os.chdir", "os.fchdir", "os.chroot", "os.exec"}
    | {"os.fork", "os.forkpty", "os.kill", "os.killpg", "os.link", "os.posix_spawn", "os.spawn", "os.startfile"}
    | {"os.symlink", "os.system", "pickle.find_class", "pty.spawn", "resource.prlimit", "resource.setrlimit"}
    | {"signal.pthread_kill", "socket.bind", "socket.gethostbyaddr", "socket.gethostbyname", "socket.getnameinfo"}
    | {"socket.sendmsg", "socket.sendto", "sqlite3.connect", "subprocess.Popen", "webbrowser.open"}
)
_CHANGES = frozenset(
    {"os.chmod", "os.chown", "os.mkdir", "os.remove", "os.removexattr", "os.rename", "os.rmdir", "os.setxattr"}
    | {"os.truncate", "os.utime"}
)
_LISTS = frozenset({"os.listdir", "os.scandir"})
_TRIED_BY_ALL = frozenset({"socket.bind"})  # urllib3 does it when it is imported, to see whether there is IPv6


def _always(_: tuple[object, ...]) -> bool:
    return True


class Breach(PermissionError):
    """What the seal has refused. An OSError, as from a system that has no such program, host or file."""


class Seal:
    """Refuses, and remembers what.

    :param folder: what may be written; also the working folder.
    :param port: of the proxy on loopback.
    """

    def __init__(self, *, folder: Path, port: int) -> None:
        self._folder = os.path.realpath(folder)
        self._proxy = (_LOOPBACK, port)
        self._readable = [os.path.realpath(path) for path in readable()]
        self.breaches: list[str] = []
        """Audit events that were refused, by name."""
        self._checks: dict[str, Callable[[tuple[object, ...]], bool]] = {
            **dict.fromkeys(_NEVER, _always),
            **dict.fromkeys(_CHANGES, self._refuses_change),
            **dict.fromkeys(_LISTS, self._refuses_listing),
            "open": self._refuses_open,
            "socket.connect": self._refuses_address,
            "socket.getaddrinfo": self._refuses_name,
        }
        self.kernel = 0
        """Version of Landlock that refuses the same; 0: none."""

    def close(self) -> None:
        """Put it on, for good."""
        places = {*map(Path, self._readable), *SHARED_LIBRARIES}
        self.kernel = restrict(port=self._proxy[1], folder=Path(self._folder), readable=places)
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[object, ...]) -> None:
        refuses = self._checks.get(event)
        if refuses is not None and refuses(args):
            if event not in _TRIED_BY_ALL:
                self.breaches.append(event)
            raise Breach(f"{event} is sealed off")

    def _refuses_address(self, args: tuple[object, ...]) -> bool:
        address = args[1]
        return not isinstance(address, tuple) or address[:2] != self._proxy

    def _refuses_name(self, args: tuple[object, ...]) -> bool:
        return args[:2] != self._proxy

    def _refuses_open(self, args: tuple[object, ...]) -> bool:
        path, mode, flags = args
        if isinstance(path, int):  # open already
            return False
        writes = isinstance(mode, str) and bool(set(mode) & set("wax+"))
        writes = writes or (isinstance(flags, int) and bool(flags & _WRITES))
        return self._is_outside(path, reading=not writes)

    def _refuses_listing(self, args: tuple[object, ...]) -> bool:
        return self._is_outside("." if args[0] is None else args[0], reading=True)

    def _refuses_change(self, args: tuple[object, ...]) -> bool:
        paths = [path for path in args if isinstance(path, str | bytes | os.PathLike)]
        return not paths or any(self._is_outside(path, reading=False) for path in paths)

    def _is_outside(self, path: object, *, reading: bool) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return True
        real = os.path.realpath(os.fsdecode(path))
        allowed = [self._folder, *self._readable] if reading else [self._folder, "/dev/null"]
        return not any(real == place or real.startswith(place + os.sep) for place in allowed)


def readable() -> list[Path]:
    """Where Python, its packages, certificates and time zones lie, and these few files: nothing else of the agent."""
    spec = find_spec("yt_dlp")
    packages = [Path(spec.origin).parent.parent] if spec is not None and spec.origin is not None else []
    certificates = ssl.get_default_verify_paths()
    trusted = [Path(path) for path in (certificates.cafile, certificates.capath) if path]
    return [Path(__file__).parent, Path(os.__file__).parent, *packages, *trusted, *map(Path, _HARMLESS)]


def limit(*, parent: int, seconds: int, file_bytes: int) -> None:
    """Have the kernel end this process with its parent, and limit its memory, files and processor time."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it went while this process was starting
        raise SystemExit(_LOST)
    for what, most in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, _FILES),
    ):
        resource.setrlimit(what, (most, most))
