"""A private MariaDB for tests, from Debian's `mariadb-server`: on a free port, without containers, also as root."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymysql

from tests.servers import PASSWORD, START_TIMEOUT, free_port, launch, unprivileged

__all__ = ["MariaDBServer", "mariadb_is_installed", "start_mariadb"]

USER = "tauro"
_PATH = "/usr/sbin:/usr/local/sbin:/usr/local/mysql/bin"

# A test's server keeps nothing: no flush at commit, no binary log. The zone is none that answers happen to be right in.
_OPTIONS = {
    "bind-address": "127.0.0.1",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-doublewrite": "0",
    "innodb-buffer-pool-size": "128M",
    "max-connections": "200",
    "default-time-zone": "+05:30",
    "character-set-server": "utf8mb4",
}


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_PATH)


def mariadb_is_installed() -> bool:
    """Whether the programs are here."""
    return all(_program(name) for name in ("mariadbd", "mariadb-install-db"))


@dataclass
class MariaDBServer:
    """A running MariaDB; its user has a password that a URI must escape, and every right."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    host: str = "127.0.0.1"
    user: str = USER
    password: str = PASSWORD
    _names: itertools.count[int] = field(default_factory=itertools.count)

    def uri(self, database: str = "test", *, user: str | None = None, password: str | None = None) -> str:
        """A URI over TCP; give `user` or `password` to try others."""
        secret = quote(self.password if password is None else password, safe="")
        return f"mysql://{user or self.user}:{secret}@{self.host}:{self.port}/{database}"

    def connect(self, database: str | None = None, **options: Any) -> pymysql.Connection[Any]:
        """A client of the tests' own, which shares no code with the product's reader; values go in as UTC."""
        given = {"user": self.user, "password": self.password, "init_command": "SET time_zone = '+00:00'", **options}
        return pymysql.connect(
            host=self.host, port=self.port, database=database, charset="utf8mb4", autocommit=True, **given
        )

    def execute(self, statement: str, database: str = "test", values: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement and give back its rows."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def create_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"fresh_{next(self._names)}"
        self.execute(f"CREATE DATABASE `{name}`")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database."""
        self.execute(f"DROP DATABASE IF EXISTS `{name}`")

    def shut_down(self) -> None:
        """Stop, and keep the data."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.crash()

    def crash(self) -> None:
        """Kill it as the kernel would."""
        self.process.kill()
        self.process.wait(20)

    def start_again(self) -> None:
        """Start on the same data and port, after `shut_down` or `crash`."""
        self.process = launch(self.process.args, self.folder)
        _wait_until_ready(self, self.user, self.password)

    def stop(self) -> None:
        """Stop at once, and remove the data."""
        self.crash()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What the server has logged."""
        return (self.folder / "log").read_text(errors="replace")


def start_mariadb() -> MariaDBServer:
    """Start a fresh MariaDB; it takes one to four seconds."""
    folder = Path(tempfile.mkdtemp(prefix="tauro-my-"))
    server: MariaDBServer | None = None
    try:
        _install(folder)
        port = free_port()
        settings = [f"--{key}={value}" for key, value in _OPTIONS.items()]
        command = [
            _program("mariadbd"), "--no-defaults", f"--datadir={folder}/data", f"--port={port}", "--skip-name-resolve",
            f"--socket={folder}/socket", f"--pid-file={folder}/pid", "--skip-log-bin", "--local-infile=1", *settings,
            # A server that starts deletes the temporary tables that it finds, those of its neighbours among them.
            f"--tmpdir={folder}",
        ]  # fmt: skip
        server = MariaDBServer(launch(command, folder), folder, port)
        _wait_until_ready(server, "root", "")
        with server.connect(user="root", password="") as root, root.cursor() as cursor:
            cursor.execute("CREATE USER %s@'127.0.0.1' IDENTIFIED BY %s", (USER, PASSWORD))
            cursor.execute("GRANT ALL ON *.* TO %s@'127.0.0.1' WITH GRANT OPTION", (USER,))
            cursor.execute("CREATE DATABASE IF NOT EXISTS test")
    except BaseException:
        if server is not None:
            server.crash()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return server


def _install(folder: Path) -> None:
    """Make an empty data folder."""
    as_user = unprivileged(folder)
    done = subprocess.run(
        [
            str(_program("mariadb-install-db")), "--no-defaults", f"--datadir={folder}/data", "--skip-test-db",
            "--auth-root-authentication-method=normal", "--skip-name-resolve",
        ],
        # Temporary tables of two that install at once would have one name in one folder.
        check=False, cwd=folder, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(folder)}, **as_user,
    )  # fmt: skip
    if done.returncode != 0:
        message = f"mariadb-install-db failed:\n{done.stdout}{done.stderr}"
        raise RuntimeError(message)


def _wait_until_ready(server: MariaDBServer, user: str, password: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            server.connect(user=user, password=password, connect_timeout=2).close()
        except pymysql.err.OperationalError as error:
            if server.process.poll() is not None or time.monotonic() > deadline:
                message = f"MariaDB did not start:\n{server.log()}"
                raise RuntimeError(message) from error
            time.sleep(0.02)
        else:
            return
