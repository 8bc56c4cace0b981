"""PostgreSQL, a cluster of its own in a temporary folder."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
from pydantic import SecretStr

from services.cli.authority import CA, IDENTITY
from shared.storage.settings import DatabaseSettings
from tests.servers.identities import House
from tests.servers.process import ServerFailed, ServerProcess, free_port

HOME = Path(__file__).resolve().parents[2] / "build" / "postgres"
ROLE = "freehold"
PASSWORD = "role-password-of-the-tests"
_ADMIN_PASSWORD = "admin-password-of-the-tests"
_CERTIFIED = f"""
host    all postgres 127.0.0.1/32 scram-sha-256
hostssl all {ROLE} 127.0.0.1/32 cert map=services
"""
_READY = "database system is ready to accept connections"
_START_S = 180.0
_OTHER_USER = "nobody"
"""PostgreSQL refuses to run as root; the tests run as root in some places."""


class Postgres:
    """One server; what is asked of it is a fresh database each time, owned by an ordinary role."""

    def __init__(self, house: House | None = None) -> None:
        """With a house, the ordinary role is only for its control, billing, audit and operator, by their
        certificates.
        """
        if not (HOME / "bin" / "postgres").exists():
            raise ServerFailed(f"{HOME} is missing: `make build/postgres/.done`")
        self.port = free_port()
        self._user = _OTHER_USER if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="freehold-postgres-"))
        self._data = self._folder / "data"
        home = HOME
        if self._user is not None:
            # The other user cannot be sure to reach this checkout.
            home = Path(shutil.copytree(HOME, self._folder / "home"))
            shutil.chown(self._folder, self._user)
            self._folder.chmod(0o755)
        self._house = house
        self._make(home)
        if house is not None:
            self._put_identity()
            (self._data / "pg_hba.conf").write_text(_CERTIFIED)
            (self._data / "pg_ident.conf").write_text(
                "".join(f"services {name} {ROLE}\n" for name in ("control", "billing", "audit", "operator"))
            )
        self._process = ServerProcess(
            [home / "bin" / "postgres", "-D", self._data, *self._options()],
            self._folder / "server.log",
            self._user,
            {"LC_ALL": "C.UTF-8"},
        )
        self._count = 0

    def start(self) -> None:
        """Return when it answers; what was committed before a stop or kill is there."""
        self._process.start(lambda log: _READY in log, _START_S)

    def stop(self) -> None:
        """End it as an operator does: clients are cut off, what is committed is on disk."""
        self._process.end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a lost machine does."""
        self._process.end(signal.SIGQUIT)

    def restart(self) -> None:
        """Stop where it runs; start on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing answers."""
        self._process.signal_all(signal.SIGSTOP)

    def proceed(self) -> None:
        """Undo `pause`."""
        self._process.signal_all(signal.SIGCONT)

    def renew(self) -> None:
        """Take over the house's certificate as it is now, and run on."""
        self._put_identity()
        os.kill(self.pid, signal.SIGHUP)

    @property
    def pid(self) -> int:
        """Of the running server's first process."""
        return self._process.pid

    @property
    def data(self) -> Path:
        """The folder of what it keeps."""
        return self._data

    def log(self) -> str:
        """All that the server has said."""
        return self._process.log()

    def remove(self) -> None:
        """End it and delete its data."""
        self._process.end(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def settings(self, name: str | None = None) -> DatabaseSettings:
        """Of a new, empty database; of the one `name`d where it is there or is to be made."""
        if name is None:
            self._count += 1
            name = f"freehold_{self._count}"
        # The caller may run inside an event loop.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, self._create(name)).result()
        return DatabaseSettings(
            host="127.0.0.1", port=self.port, name=name, user=ROLE, password=SecretStr(PASSWORD)
        )

    async def execute(
        self, statement: str, database: str = "postgres", *values: object
    ) -> list[asyncpg.Record]:
        """What the administrator's statement gives: to cut connections, to look at locks."""
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user="postgres", password=_ADMIN_PASSWORD, database=database
        )
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    def _put_identity(self) -> None:
        assert self._house is not None
        ca, identity, _ = self._house.files("postgres")
        assert ca is not None
        assert identity is not None
        for source in (ca, identity):
            # Its own, as it refuses a key of somebody else's.
            part = self._folder / f"{source.name}.part"
            part.write_bytes(source.read_bytes())
            part.chmod(0o600)
            if self._user is not None:
                shutil.chown(part, self._user)
            part.replace(self._folder / source.name)

    async def _create(self, name: str) -> None:
        if not await self.execute(f"SELECT FROM pg_roles WHERE rolname = '{ROLE}'"):
            await self.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        if not await self.execute(f"SELECT FROM pg_database WHERE datname = '{name}'"):
            await self.execute(f'CREATE DATABASE "{name}" OWNER {ROLE}')

    def _make(self, home: Path) -> None:
        password = self._folder / "password"
        password.write_text(_ADMIN_PASSWORD, encoding="utf-8")
        who = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}"]
        made = subprocess.run(
            [
                home / "bin" / "initdb",
                "-D",
                self._data,
                *who,
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ],
            user=self._user,
            extra_groups=None if self._user is None else [],
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise ServerFailed(f"initdb: {made.stdout}{made.stderr}")

    def _options(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
            "max_connections": 250,
            "log_min_duration_statement": "1s",
        }
        if self._house is not None:
            identity = self._folder / IDENTITY
            settings |= {"ssl": "on", "ssl_ca_file": self._folder / CA}
            settings |= {"ssl_cert_file": identity, "ssl_key_file": identity}
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
