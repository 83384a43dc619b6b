"""`millrace token`: tokens for people, programs and browsers."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from millrace.cli.connection import GatewayOption, target
from millrace.cli.console import print_json
from millrace.cli.exits import one_sentence
from millrace.embedded.paths import StackPaths, default_data
from millrace.embedded.signing import LINKS_LAST, SECRET_VARIABLE, local_owner, sign_in_link
from millrace.errors import ConfigurationError
from millrace.tokens import Role, mint


class Minted(BaseModel):
    """What `token --json` prints; `link` instead of `token` with `--link`."""

    token: str | None = None
    link: str | None = None
    owner: str
    roles: list[Role]
    accounts: list[str] | None
    expires_at: datetime


def token(
    user: Annotated[str | None, typer.Option(help="Whose shares these are; by default yours on this machine")] = None,
    admin: Annotated[
        bool | None,
        typer.Option("--admin/--user-only", help="Whether it may look into all that runs and change it; yours may"),
    ] = None,
    account: Annotated[
        list[str] | None, typer.Option(help="An account that a user may charge; by default `default`. Admins: any")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is valid")] = 30,
    link: Annotated[bool, typer.Option("--link", help="A link that signs a browser in, for 15 minutes")] = False,
    data: Annotated[Path | None, typer.Option(help="Data folder of the `millrace up` that it is for")] = None,
    gateway: GatewayOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Make a token for the gateway of this machine, or the one whose MILLRACE_JWT_SECRET is in the environment.

    Programs send it as `Authorization: Bearer TOKEN`, commands take it from MILLRACE_TOKEN.
    """
    folder = (data or default_data()).absolute()
    now = datetime.now(UTC)
    with one_sentence():
        secret = _secret(folder)
        owner = user or local_owner(os.environ)
        is_admin = user is None if admin is None else admin
        roles: list[Role] = ["user", "admin"] if is_admin else ["user"]
        if is_admin and account:
            raise ConfigurationError("An admin may charge any account: --account is for --user-only.")
        if link:
            if (user, account, admin) != (None, None, None):
                raise ConfigurationError("A link signs you in as yourself: make a token for others.")
            url = target(gateway, None, folder).url
            made = Minted(
                link=sign_in_link(url, secret, owner, now),
                owner=owner,
                roles=roles,
                accounts=None,
                expires_at=now + LINKS_LAST,
            )
        else:
            lasts = timedelta(days=days)
            text = mint(secret, subject=owner, roles=roles, now=now, lasts=lasts, accounts=account)
            made = Minted(token=text, owner=owner, roles=roles, accounts=account, expires_at=now + lasts)
    if as_json:
        print_json(made)
    else:
        typer.echo(made.link or made.token)


def _secret(data: Path) -> str:
    """Of the environment, or the data folder's.

    :raises ConfigurationError: there is none, or it cannot be read.
    """
    if named := os.environ.get(SECRET_VARIABLE):
        return named
    file = StackPaths(data).secret
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no secret to sign with: start `millrace up` once on {data}, or set {SECRET_VARIABLE} to "
            "that of the gateway."
        ) from None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"The secret {file} cannot be read ({type(exc).__name__}).") from exc
