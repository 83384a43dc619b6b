"""The user that PostgreSQL runs as when we are root: it refuses to run as root itself."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NAME = "pgserver"  # the name the PostgreSQL wheel uses too, so one machine gets one such user


@dataclass(frozen=True)
class Account:
    """A user and its group by number."""

    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """The account to run PostgreSQL under; None when we are not root and it runs as ourselves.

    Creates a system user without login the first time, or takes `nobody` where users cannot be created.
    """
    if os.geteuid() != 0:
        return None
    entry = _entry(_NAME)
    useradd = shutil.which("useradd")
    if entry is None and useradd is not None:
        options = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        subprocess.run([useradd, *options, _NAME], check=False, capture_output=True)
        entry = _entry(_NAME)
    if entry is None:
        entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def let_through(path: Path, account: Account) -> list[Path]:
    """Let the account pass the folders above `path` (search permission only, not reading), and say which changed.

    Needed for a data folder or a virtual environment under root's private home.
    """
    changed = []
    for folder in path.absolute().parents:
        status = folder.stat()
        if status.st_uid != account.uid and not status.st_mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)
            changed.append(folder)
    return changed


def give(path: Path, account: Account) -> None:
    """Make the account the owner of a folder and all that is in it, unless it is already."""
    status = path.stat()
    if (status.st_uid, status.st_gid) == (account.uid, account.gid):
        return
    for folder, _, files in os.walk(path):
        for file in files:
            os.chown(Path(folder, file), account.uid, account.gid, follow_symlinks=False)
        os.chown(folder, account.uid, account.gid)
