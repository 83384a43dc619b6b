"""What a trial of a secured cluster needs, as files: an authority, the brokers' certificates, passwords."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from millrace.certificates import Authority
from millrace.errors import ConfigurationError

CA_FILE: Final = "ca.pem"
BROKER: Final = "millrace-broker"
"""Common name of every broker's certificate: who has it is a broker (deploy/security/server.properties)."""
VALID: Final = timedelta(days=30)
_PASSWORD_BYTES: Final = 24


def make_trial(folder: Path, hosts: Sequence[str], users: Iterable[str], now: datetime) -> list[Path]:
    """Write the files; what is secret for this user's eyes alone. The authority's key is not kept.

    `ca.pem` is what clients trust, and everybody may read it; `HOST.pem` is a broker's key and certificate,
    `USER.password` a password.

    :raises ConfigurationError: the folder has something in it, or cannot be written.
    """
    try:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigurationError(f"{folder} is not empty: name a new folder, what is there may be in use.")
        authority = Authority("Millrace trial", now, VALID)
        made = [_write(folder / CA_FILE, authority.certificate, 0o644)]
        for host in dict.fromkeys(hosts):
            issued = authority.issue(BROKER, [host])
            made.append(_write(folder / f"{host}.pem", issued.key + issued.certificate + authority.certificate))
        for user in users:
            password = secrets.token_urlsafe(_PASSWORD_BYTES)
            made.append(_write(folder / f"{user}.password", password.encode()))
    except OSError as exc:
        raise ConfigurationError(f"{folder} cannot be written: {exc.strerror}.") from exc
    return made


def passwords(folder: Path, users: Iterable[str]) -> dict[str, str]:
    """Those of the users that have a file there.

    :raises ConfigurationError: a file cannot be read, or there is none at all.
    """
    files = {user: folder / f"{user}.password" for user in users}
    try:
        found = {user: file.read_text().strip() for user, file in files.items() if file.exists()}
    except OSError as exc:
        raise ConfigurationError(f"The passwords in {folder} cannot be read: {exc.strerror}.") from exc
    except UnicodeDecodeError:
        raise ConfigurationError(f"A password in {folder} is no text in UTF-8.") from None
    if empty := [user for user, password in found.items() if not password]:
        raise ConfigurationError(f"{files[empty[0]]} is empty: a password is its content.")
    if not found:
        raise ConfigurationError(f"{folder} has no password of anybody: USER.password is the file of a user.")
    return found


def _write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content)
    return path
