"""The kernel's own fence around a process (Landlock, https://docs.kernel.org/userspace-api/landlock.html).

Used where the kernel has it, and nothing depends on it: the audit hook of `seal.py` refuses the same.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same number on every architecture
_VERSION_ONLY = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_CONNECT_TCP = 1 << 1
_ALL_NET = 1 << 0 | _CONNECT_TCP  # binding, too
_PR_SET_NO_NEW_PRIVS = 38
# Rights by the version that brought them: 13 at first, then moving between folders, truncating, device control.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NEWEST = 5
_DEVICE_CONTROL, _EXECUTE = 1 << 15, 1 << 0
_SCOPES = 1 << 0 | 1 << 1  # abstract Unix sockets and signals stay within
NET_SINCE = 4
"""Version of Landlock that knows TCP."""
SHARED_LIBRARIES = tuple(
    map(Path, ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"))
)
"""Where the dynamic linker looks."""
SCOPES_SINCE = 6
"""Version of Landlock that keeps signals from other processes."""


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _Port(ctypes.Structure):
    _fields_ = (("allowed_access", ctypes.c_uint64), ("port", ctypes.c_uint64))


def restrict(*, port: int | None = None, folder: Path | None = None, readable: Iterable[Path]) -> int:
    """Allow TCP to one port at most, writing in one folder at most, reading there and in some places, and no program.

    Cannot be undone, and holds for all children of this process. Not covered are UDP, TCP before Linux 6.7, and
    signals to other processes before 6.12.

    :return: the version of Landlock that does this; 0: none.
    """
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_ONLY))
    if version < 1 or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return 0
    rights = (1 << _FILE_RIGHTS[min(version, _NEWEST)]) - 1
    has_net = version >= NET_SINCE
    rules = _Ruleset(rights, _ALL_NET if has_net else 0, _SCOPES if version >= SCOPES_SINCE else 0)
    fields = 1 + (version >= NET_SINCE) + (version >= SCOPES_SINCE)  # an older kernel refuses those it does not know
    size = ctypes.c_size_t(fields * ctypes.sizeof(ctypes.c_uint64))
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(rules), size, ctypes.c_uint32(0))
    if ruleset < 0:
        return 0
    try:
        added = [_beneath(libc, ruleset, path, _READ_FILE | _READ_DIR) for path in readable if path.exists()]
        if folder is not None:
            added.append(_beneath(libc, ruleset, folder, rights & ~_EXECUTE & ~_DEVICE_CONTROL))
        if has_net and port is not None:
            rule = _Port(_CONNECT_TCP, port)
            added.append(libc.syscall(_ADD_RULE, ruleset, _NET_PORT, ctypes.byref(rule), ctypes.c_uint32(0)) == 0)
        holds = all(added) and libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) == 0
        return int(version) if holds else 0
    finally:
        os.close(ruleset)


def _beneath(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> bool:
    """Allow these rights on a file, or on all that is in a folder."""
    if not path.is_dir():
        rights &= ~_READ_DIR
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _Beneath(rights, place)
        return bool(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0)) == 0)
    finally:
        os.close(place)
