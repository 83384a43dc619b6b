"""`millrace token`, and which token a command sends to which gateway."""

from __future__ import annotations

import json
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner, Result

from millrace.cli import connection
from millrace.cli.connection import running_gateway, target
from millrace.cli.main import app
from millrace.embedded.paths import StackPaths, write_private, write_private_json
from millrace.embedded.signing import local_secret
from millrace.errors import Unavailable

SECRET = "0123456789abcdef0123456789abcdef"
OWN = "http://127.0.0.1:4711"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_private(StackPaths(tmp_path).secret, SECRET + "\n")
    write_private_json(StackPaths(tmp_path).run, {"gateway": OWN, "token": "its-own"})
    return tmp_path


def token(*words: str, **environment: str) -> Result:
    names = ("MILLRACE_JWT_SECRET", "MILLRACE_OWNER", "MILLRACE_GATEWAY", "MILLRACE_TOKEN")
    return CliRunner().invoke(app, ["token", *words], env={**dict.fromkeys(names), **environment})


def claims(text: str, secret: str = SECRET) -> dict[str, object]:
    found: dict[str, object] = jwt.decode(text, secret, algorithms=["HS256"])
    return found


def test_a_token_of_ones_own_is_an_admins_for_a_month(data: Path) -> None:
    made = claims(token("--data", str(data)).stdout.strip())
    assert (made["sub"], made["roles"]) == ("local", ["admin", "user"])
    assert int(str(made["exp"])) - int(str(made["iat"])) == 30 * 86_400
    assert "accounts" not in made


def test_a_token_for_others_says_what_they_may(data: Path) -> None:
    words = ("--data", str(data), "--user", "ada", "--account", "team", "--days", "1", "--json")
    made = json.loads(token(*words).stdout)
    assert (made["owner"], made["roles"], made["accounts"]) == ("ada", ["user"], ["team"])
    assert claims(made["token"])["roles"] == ["user"]


def test_an_admin_is_made_of_somebody_else_only_when_that_is_said(data: Path) -> None:
    for words, roles in (([], ["user"]), (["--admin"], ["admin", "user"])):
        assert claims(token("--data", str(data), "--user", "ada", *words).stdout.strip())["roles"] == roles
    refused = token("--data", str(data), "--account", "team")
    assert (refused.exit_code, refused.stderr.count("\n")) == (78, 1)


def test_a_link_names_the_running_gateway_and_is_good_for_nothing_else(data: Path) -> None:
    link = token("--data", str(data), "--link").stdout.strip()
    address, _, text = link.partition("/#sign-in=")
    assert address == OWN
    assert claims(text)["use"] == "link"
    for_others = token("--data", str(data), "--link", "--user", "ada")
    assert (for_others.exit_code, for_others.stderr.count("\n")) == (78, 1)


def test_the_secret_of_the_environment_goes_first(data: Path) -> None:
    other = SECRET[::-1]
    assert claims(token("--data", str(data), MILLRACE_JWT_SECRET=other).stdout.strip(), other)


@pytest.mark.parametrize("secret", [None, "short", "\udcff"])
def test_without_a_good_secret_one_sentence_says_what_to_do(tmp_path: Path, secret: str | None) -> None:
    if secret is not None:
        StackPaths(tmp_path).secret.write_bytes(secret.encode(errors="surrogateescape"))
    result = token("--data", str(tmp_path))
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (78, "", 1)


def test_a_token_is_sent_to_the_gateway_it_is_of_and_to_no_other(data: Path, tmp_path: Path) -> None:
    assert running_gateway(data) == (OWN, "its-own")
    assert target(None, None, data) == (OWN, "its-own")
    assert target(OWN + "/", None, data).token == "its-own"
    assert target("http://elsewhere:80", None, data).token is None
    assert target("http://elsewhere:80", "named", data).token == "named"
    assert target(None, "named", data).token == "named"
    empty = tmp_path / "empty"
    assert target(OWN, None, empty).token is None
    with pytest.raises(Unavailable):
        target(None, None, empty)
    assert connection.TOKEN_VARIABLE == "MILLRACE_TOKEN"


def test_a_data_folder_gets_one_secret_that_only_its_user_reads(tmp_path: Path) -> None:
    file = StackPaths(tmp_path).secret
    made = local_secret(file, {})
    assert len(made) == 64
    assert file.stat().st_mode & 0o777 == 0o600
    assert local_secret(file, {}) == made
    assert local_secret(file, {"MILLRACE_JWT_SECRET": "named"}) == "named"
