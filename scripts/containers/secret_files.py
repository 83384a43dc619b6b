"""Files of secrets, one for each container with what it alone must know; made at the first start."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Final

SECRETS: Final = Path(__file__).resolve().parents[2] / "deploy" / "compose" / "secrets"
_KEYS: Final = """\
# Keys of models' APIs. This file is yours: scripts/start makes it once and leaves it alone.
# Without a key everything runs on local models. After a change: scripts/start.
#MILLRACE_OPENAI_API_KEY=
#MILLRACE_ANTHROPIC_API_KEY=
"""


def passwords(folder: Path) -> dict[str, str]:
    """This installation's passwords by name; those that are missing are made."""
    file = folder / "passwords.json"
    known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    names = ("superuser", "millrace", "registry", "s3", "grafana", "jwt")
    made = known | {name: secrets.token_hex(32) for name in names if name not in known}
    if made != known:
        write_private(file, json.dumps(made, indent=2) + "\n")
    return made


def write_private(file: Path, text: str, mode: int = 0o600) -> None:
    """Write a file in place (a container may have it mounted) that was never readable by others."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        os.fchmod(descriptor, mode)
        target.write(text)


def make_secrets(folder: Path) -> None:
    """A file for each service with what it alone must know, mode 600 in a folder of mode 700.

    Compose reads them as whoever calls it: a file of mode 600 could not be read by a container's own user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    known = passwords(folder)
    files = {
        "postgres.env": {
            "POSTGRES_PASSWORD": known["superuser"],
            "MILLRACE_DATABASE_PASSWORD": known["millrace"],
            "REGISTRY_DATABASE_PASSWORD": known["registry"],
        },
        "database.env": {"MILLRACE_POSTGRES": f"postgresql://millrace:{known['millrace']}@postgres:5432/millrace"},
        "registry.env": {"REGISTRY_DATASOURCE_PASSWORD": known["registry"]},
        "s3.env": {"ROOT_ACCESS_KEY_ID": "millrace", "ROOT_SECRET_ACCESS_KEY": known["s3"]},
        "storage.env": {"MILLRACE_S3_ACCESS_KEY_ID": "millrace", "MILLRACE_S3_SECRET_ACCESS_KEY": known["s3"]},
        "gateway.env": {"MILLRACE_JWT_SECRET": known["jwt"]},
        "grafana.env": {"GF_SECURITY_ADMIN_PASSWORD": known["grafana"]},
    }
    for name, variables in files.items():
        write_private(folder / name, "".join(f"{key}={value}\n" for key, value in variables.items()))
    if not (folder / "keys.env").exists():
        write_private(folder / "keys.env", _KEYS)
    if not (folder / "metrics-token").exists():
        write_token(folder, "")


def write_token(folder: Path, token: str) -> None:
    """The one file that a container reads itself, as another user; on this machine the folder keeps others out."""
    write_private(folder / "metrics-token", token, 0o644)
