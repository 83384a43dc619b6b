"""What compose.kafka.yml runs once or beside the services, word for word, as processes of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import asyncpg
import jwt
import pytest

from millrace.embedded.account import give, let_through, unprivileged_account
from millrace.embedded.postgres import find_postgres
from millrace.embedded.process import launcher_argv
from millrace.embedded.readyfile import Addresses
from scripts.containers.start import METRICS_TOKEN, SIGN_IN_LINK
from tests.support.compose_file import ROOT, health_command, services
from tests.support.process import free_port
from tests.support.s3 import ACCESS_KEY, SECRET_KEY, S3Server, versitygw
from tests.support.waiting import until

COMPOSE: Final = ROOT / "deploy" / "compose"
BIN: Final = Path(sys.executable).parent
SECRET: Final = "0123456789abcdef0123456789abcdef"
PASSWORDS: Final = {"MILLRACE_DATABASE_PASSWORD": "it's 'mine'", "REGISTRY_DATABASE_PASSWORD": "theirs"}


@contextmanager
def fresh_postgres(folder: Path) -> Iterator[int]:
    """A new server whose superuser needs no password on loopback, as in the image while it is set up; its port."""
    account, binaries, port = unprivileged_account(), find_postgres(), free_port()
    cluster = folder / "cluster"
    cluster.mkdir(mode=0o700)
    if account is not None:
        give(cluster, account)
        let_through(cluster, account)
    init = (str(binaries / "initdb"), "-D", str(cluster), "-U", "postgres", "--auth=trust", "--no-instructions")
    subprocess.run(launcher_argv(init, account=account), check=True, capture_output=True, cwd="/", timeout=60)
    settings = {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    # Only the superuser is trusted, so that passwords of the others are asked for.
    (cluster / "pg_hba.conf").write_text(
        "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    program = launcher_argv((str(binaries / "postgres"), "-D", str(cluster), *options), account=account)
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    environment = {"PGPORT": str(port), "PGUSER": "millrace", "PATH": str(binaries)}
    try:
        check = health_command("postgres")
        until(lambda: subprocess.run(check, env=environment, check=False).returncode == 0, "PostgreSQL", 30)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


async def who(port: int, user: str, password: str, database: str) -> list[object]:
    """Sign in, and say whether one is a superuser and how many extensions named vector there are."""
    connection = await asyncpg.connect(
        host="127.0.0.1", port=port, user=user, password=password, database=database, timeout=10
    )
    try:
        rows = await connection.fetchrow(
            "SELECT rolsuper, (SELECT count(*) FROM pg_extension WHERE extname = 'vector')"
            " FROM pg_roles WHERE rolname = current_user"
        )
        return list(rows or ())
    finally:
        await connection.close()


def test_the_database_begins_with_a_role_for_services_and_one_for_the_registry(tmp_path: Path) -> None:
    with fresh_postgres(tmp_path) as port:
        psql = [str(find_postgres() / "psql"), "-X", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]
        words = [*psql, "-p", str(port), "-f", str(COMPOSE / "postgres-init.sql")]
        subprocess.run(words, env=PASSWORDS, check=True, capture_output=True, timeout=60)
        mine, theirs = PASSWORDS.values()
        assert asyncio.run(who(port, "millrace", mine, "millrace")) == [False, 1]
        assert asyncio.run(who(port, "registry", theirs, "registry")) == [False, 0]
        with pytest.raises(asyncpg.InvalidPasswordError):
            asyncio.run(who(port, "millrace", theirs, "millrace"))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            asyncio.run(who(port, "registry", theirs, "millrace"))
        without = subprocess.run(words, env={}, check=False, capture_output=True, text=True, timeout=60)
        assert without.returncode != 0  # no password, no role


def expiry(*words: str, folder: Path, days: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run expiry.sh with a scratch folder of its own."""
    environment = {"TMPDIR": str(folder), "PATH": os.environ["PATH"]} | (
        {"MILLRACE_S3_TEMP_DAYS": days} if days else {}
    )
    argv = ("/bin/sh", str(COMPOSE / "expiry.sh"), *words)
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=20)


def aged(file: Path, days: float) -> Path:
    """A file that was last written so long ago."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x")
    at = time.time() - days * 86_400
    os.utime(file, (at, at))
    return file


@pytest.mark.parametrize(("days", "kept"), [(None, 6.9), ("2", 1.9)])
def test_what_is_below_temp_goes_when_it_is_old_and_not_before(tmp_path: Path, days: str | None, kept: float) -> None:
    scratch, temp = tmp_path / "scratch", tmp_path / "temp"
    scratch.mkdir()
    old, young = aged(temp / "videos" / "a" / "old.mp4", kept + 0.2), aged(temp / "videos" / "b" / "new.mp4", kept)
    os.utime(old.parent, (0, 0))
    done = expiry(str(temp), "--once", folder=scratch, days=days)
    assert (done.returncode, done.stderr) == (0, "")
    assert (old.exists(), young.exists()) == (False, True)


def test_the_check_of_expiry_is_red_when_nothing_was_looked_through_lately(tmp_path: Path) -> None:
    check = health_command("s3-expiry")[2:]
    assert expiry(*check, folder=tmp_path).returncode == 1
    expiry(str(tmp_path / "nothing"), "--once", folder=tmp_path)
    assert expiry(*check, folder=tmp_path).returncode == 0
    os.utime(tmp_path / "looked", (0, 0))
    assert expiry(*check, folder=tmp_path).returncode == 1


def test_a_stop_ends_expiry_at_once(tmp_path: Path) -> None:
    argv = ("/bin/sh", str(COMPOSE / "expiry.sh"), str(tmp_path / "temp"))
    process = subprocess.Popen(argv, env={"TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]})
    until((tmp_path / "looked").exists, "it to have looked", 20)
    process.terminate()
    assert process.wait(5) == 0


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    """A real server of the kind that the file has."""
    with versitygw(tmp_path) as server:
        yield server


@pytest.mark.versitygw
@pytest.mark.timeout(300)
def test_the_setup_job_makes_everything_and_may_be_repeated(stack: Addresses, s3: S3Server, tmp_path: Path) -> None:
    job = services()["setup"]
    environment = {
        **os.environ,
        **job["environment"],
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "MILLRACE_KAFKA": stack.kafka,
        "MILLRACE_REGISTRY": stack.registry,
        "MILLRACE_POSTGRES": stack.postgres,
        "MILLRACE_S3_ENDPOINT": s3.url,
        "MILLRACE_S3_ACCESS_KEY_ID": ACCESS_KEY,
        "MILLRACE_S3_SECRET_ACCESS_KEY": SECRET_KEY,
        "MILLRACE_BLOBS": str(tmp_path / "blobs"),
        "MILLRACE_REPLICATION": "1",  # one broker
    }

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            job["command"], env=environment, capture_output=True, text=True, check=False, timeout=100
        )

    for _ in range(2):
        done = run()
        assert done.returncode == 0, done.stdout + done.stderr
    assert "The database has the newest schema." in done.stdout
    s3.kill()
    assert run().returncode != 0


@pytest.mark.parametrize(("words", "field"), [(METRICS_TOKEN, "token"), (SIGN_IN_LINK, "link")])
def test_what_a_start_asks_of_the_gateways_container_is_what_millrace_answers(
    words: tuple[str, ...], field: str
) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "MILLRACE_JWT_SECRET": SECRET}
    done = subprocess.run(
        (BIN / words[0], *words[1:]), env=environment, capture_output=True, text=True, check=True, timeout=30
    )
    made = json.loads(done.stdout)[field]
    claims = jwt.decode(made.rpartition("=")[2] if field == "link" else made, SECRET, ["HS256"])
    assert claims["roles"] == (["admin", "user"] if field == "link" else ["user"])
