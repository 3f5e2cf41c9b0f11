"""Sources that fail over what is right to ask: no room, a time limit, files that are gone, locked or damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import SchemaMismatch, SourceUnavailable
from tests.faults.world import refused
from tests.mariadb import MariaDBServer
from tests.servers import PostgresServer

ROWS = 40_000
PAGE = 8192
SORTED = "SELECT v, count(*) AS n FROM t GROUP BY v ORDER BY v"
WORK = "SELECT v, count(*) AS n FROM t GROUP BY v ORDER BY md5(v)"
"""For the server: what is asked of a table is sorted in the engine."""


def opened(kind: str, *, query: str | None = None, **connection: Any) -> VirtualContext:
    table = {"connection": "far", "connector_type": kind, **({"table": "t"} if query is None else {"query": query})}
    return VirtualContext({"connections": {"far": {"type": kind, **connection}}, "virtual_tables": {"t": table}})


@pytest.fixture
def postgres(world_of: Any) -> Iterator[tuple[PostgresServer, str]]:
    server: PostgresServer = world_of("postgresql").server
    name = server.create_database()
    server.execute(
        f"CREATE TABLE t AS SELECT i AS id, repeat('x', 90) || i AS v FROM generate_series(1, {ROWS}) i", name
    )
    server.execute("VACUUM ANALYZE t", name)
    yield server, name
    server.drop_database(name)


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"temp_file_limit": "'2MB'", "work_mem": "'64kB'", "hash_mem_multiplier": "1"}, "short of memory, disk"),
        ({"statement_timeout": "20"}, "stopped what it was asked"),
    ],
)
def test_a_postgresql_at_its_limits(
    postgres: tuple[PostgresServer, str], settings: dict[str, str], reason: str
) -> None:
    server, name = postgres
    with opened("postgresql", uri=server.uri(name), query=WORK) as ctx:
        right = ctx.query("SELECT * FROM t").to_arrow()
    for setting, value in settings.items():
        server.execute(f'ALTER DATABASE "{name}" SET {setting} = {value}')
    with opened("postgresql", uri=server.uri(name), query=WORK) as ctx:
        refused(ctx, lambda: ctx.query("SELECT * FROM t").to_arrow(), SourceUnavailable, f"`far`.*{reason}")
    server.execute(f'ALTER DATABASE "{name}" RESET ALL')
    with opened("postgresql", uri=server.uri(name), query=WORK) as ctx:
        assert ctx.query("SELECT * FROM t").to_arrow().equals(right)


def remove(file: Path) -> None:
    file.unlink()


def overwrite(file: Path) -> None:
    with file.open("r+b") as opened_file:
        opened_file.seek(PAGE)
        opened_file.write(b"\x55" * PAGE)


@pytest.mark.postgres
@pytest.mark.parametrize(("harm", "reason"), [(remove, "use its files"), (overwrite, "data damaged")])
def test_a_postgresql_without_its_files(
    postgres: tuple[PostgresServer, str], harm: Callable[[Path], None], reason: str
) -> None:
    server, name = postgres
    with psycopg.connect(server.uri(name)) as connection:
        ((path,),) = connection.execute("SELECT pg_relation_filepath('t')").fetchall()
    server.shut_down()
    harm(server.folder / "data" / path)
    server.start_again()
    with opened("postgresql", uri=server.uri(name)) as ctx:
        for sql in ("SELECT id FROM t WHERE id < 5", "SELECT * FROM t", SORTED):
            refused(ctx, lambda sql=sql: ctx.query(sql).rows(), SourceUnavailable, f"`far`.*{reason}")  # type: ignore[misc]


@contextmanager
def nothing_new_in(folder: Path) -> Iterator[None]:
    before = folder.stat().st_mode
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(before)


@pytest.mark.mariadb
def test_a_mariadb_that_can_make_no_temporary_file(world_of: Any) -> None:
    server: MariaDBServer = world_of("mysql").server
    name = server.create_database()
    server.execute(f"CREATE TABLE t AS SELECT repeat(concat('x', seq), 90) AS v FROM seq_1_to_{ROWS}", name)
    with opened("mysql", uri=server.uri(name)) as ctx:
        plan = ctx.plan(SORTED)
        with nothing_new_in(server.folder):
            refused(ctx, lambda: ctx.query(SORTED), SourceUnavailable, "`far`: the server could not use its files")
            refused(ctx, lambda: ctx.run(plan).to_arrow(), SourceUnavailable, "`far`")
        assert ctx.query(SORTED).to_arrow().num_rows == ROWS
    with opened("mysql", uri=server.uri(name), query="SELECT gone FROM t") as ctx:
        refused(ctx, lambda: ctx.query("SELECT * FROM t"), SchemaMismatch, "does not fit the source")
    server.drop_database(name)


SQLITE_QUERIES = ("SELECT * FROM t", "SELECT id FROM t WHERE id > 3", "SELECT id, count(*) AS n FROM t GROUP BY id")


@pytest.mark.parametrize("query", [None, "SELECT id, v FROM t"])
def test_a_damaged_sqlite_file(tmp_path: Path, query: str | None) -> None:
    file = sqlite_file(tmp_path)
    with opened("sqlite", path=str(file), query=query) as ctx:
        ctx.plan(SQLITE_QUERIES[0])
        with file.open("r+b") as opened_file:
            opened_file.seek(file.stat().st_size // 4)
            opened_file.write(b"\x55" * (file.stat().st_size // 2))
        for sql in SQLITE_QUERIES:
            refused(ctx, lambda sql=sql: ctx.query(sql).rows(), SourceUnavailable, "`(far|lite)`.*file is damaged")  # type: ignore[misc]
        file.write_bytes(b"none" * 5000)
        refused(ctx, lambda: ctx.query(SQLITE_QUERIES[1]).rows(), SourceUnavailable, "not a readable SQLite database")


def test_a_locked_sqlite_file(tmp_path: Path) -> None:
    file = sqlite_file(tmp_path)
    with opened("sqlite", path=str(file), query="SELECT id, v FROM t") as ctx, closing(sqlite3.connect(file)) as other:
        other.isolation_level = None
        other.execute("BEGIN EXCLUSIVE")
        refused(
            ctx, lambda: ctx.query(SQLITE_QUERIES[1]).rows(), SourceUnavailable, "another program has the file locked"
        )
        other.execute("ROLLBACK")
        assert len(ctx.query(SQLITE_QUERIES[1]).rows()) == ROWS // 4 - 4


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip"])
@pytest.mark.parametrize("harm", ["damaged", "cut", "empty"])
def test_a_damaged_parquet_file(tmp_path: Path, compression: str, harm: str) -> None:
    file = tmp_path / "t.parquet"
    with duckdb.connect() as plain:
        plain.execute(
            f"COPY (SELECT i, md5('' || i) AS v FROM range({ROWS}) t(i)) TO '{file}' (COMPRESSION {compression})"
        )
    with VirtualContext({"virtual_tables": {"t": {"connector_type": "parquet", "path": str(file)}}}) as ctx:
        ctx.plan("SELECT * FROM t")
        whole = file.read_bytes()
        third = len(whole) // 3
        damaged = whole[:third] + b"\x55" * third + whole[2 * third :]
        file.write_bytes({"damaged": damaged, "cut": whole[: 2 * third], "empty": b""}[harm])
        refused(ctx, lambda: ctx.query("SELECT * FROM t").rows(), SourceUnavailable, "file is damaged")


def sqlite_file(folder: Path) -> Path:
    file = folder / "t.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER, v TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", ((i, "x" * 90 + str(i)) for i in range(ROWS // 4)))
        connection.commit()
    return file
