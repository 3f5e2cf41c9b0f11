"""`python -m benchmarks.barrier`: what the barrier costs on each source, and what the time of an answer tells.

Printed are milliseconds, the best of several runs that take turns, so that other processes disturb them alike; what
counts are the ratios. Costs are those of a point lookup and an aggregate: without a policy, and behind one with each
barrier. The time channel is a lookup of a key: one that a hidden row has, one that no row has, and one beyond all keys.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from tauro_nb import VirtualContext
from tests.mariadb import MariaDBServer, start_mariadb
from tests.servers import PostgresServer, start_postgres

ROWS = int(os.environ.get("TAURO_BENCH_ROWS", "1000000"))
REPEATS = int(os.environ.get("TAURO_BENCH_REPEATS", "7"))
FILTER = "team LIKE 'e%'"
# Keys are even: an odd one is in range, and absent.
HIDDEN, ABSENT, BEYOND = ROWS // 2 * 2 + 2, ROWS // 2 * 2 + 3, ROWS * 10
COLUMNS = "2 * i AS id, CASE WHEN i % 10 = 0 THEN 'eng' ELSE 'ops' END AS team, i % 1000 AS amount, i % 7 AS kind"
STATEMENTS: Mapping[str, str] = {
    "lookup": f"SELECT id, amount FROM t WHERE id = {ROWS // 10 * 10}",
    "aggregate": "SELECT kind, count(*) AS n, sum(amount) AS s FROM t GROUP BY kind",
    "doubtful": "SELECT count(*) AS n FROM t WHERE 1000 // (amount + 1) > 5",
}
PROBES: Mapping[str, str] = {
    name: f"SELECT count(*) AS n FROM t WHERE id = {key}"
    for name, key in (("hidden", HIDDEN), ("absent", ABSENT), ("beyond", BEYOND))
}


def main() -> None:
    """Load, measure, print."""
    postgres, mariadb = start_postgres(), start_mariadb()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, config in _sources(Path(folder), postgres, mariadb):
                with _contexts(config) as contexts:
                    _print_costs(name, contexts)
                    _print_channel(name, contexts)
    finally:
        mariadb.stop()
        postgres.stop()


@contextlib.contextmanager
def _contexts(config: Mapping[str, Any]) -> Iterator[dict[str, VirtualContext]]:
    """Whoever sees everything, and the same analyst behind each barrier."""
    with contextlib.ExitStack() as stack:
        found = {}
        for barrier in ("leakproof", "strict"):
            policy = {"barrier": barrier, "row_level_filters": {"admin": "", "analyst": FILTER}}
            ctx = stack.enter_context(VirtualContext({**config, "security_policies": {"t": policy}}))
            found.setdefault("no policy", ctx)
            found[barrier] = ctx.as_principal("analyst")
        yield found


def _times(asked: Mapping[str, tuple[VirtualContext, str]]) -> dict[str, float]:
    best = dict.fromkeys(asked, float("inf"))
    for _ in range(REPEATS):
        for name, (ctx, sql) in asked.items():
            started = time.perf_counter()
            ctx.query(sql).to_arrow()
            best[name] = min(best[name], (time.perf_counter() - started) * 1000)
    return best


def _print_costs(source: str, contexts: Mapping[str, VirtualContext]) -> None:
    for what, sql in STATEMENTS.items():
        found = _times({name: (ctx, sql) for name, ctx in contexts.items()})
        print(f"{source:<12}{what:<11}" + "".join(f"{name}: {ms:8.1f} ms   " for name, ms in found.items()), flush=True)


def _print_channel(source: str, contexts: Mapping[str, VirtualContext]) -> None:
    for barrier in ("leakproof", "strict"):
        found = _times({name: (contexts[barrier], sql) for name, sql in PROBES.items()})
        absent, beyond = found["hidden"] / found["absent"], found["absent"] / found["beyond"]
        times = "".join(f"{name}: {ms:.1f} ms  " for name, ms in found.items())
        print(f"{source:<12}{barrier:<11}{times} hidden/absent {absent:.2f}, in range/beyond {beyond:.2f}", flush=True)


def _sources(folder: Path, postgres: PostgresServer, mariadb: MariaDBServer) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "DuckDB", _duckdb(folder)
    yield "Parquet", _parquet(folder)
    yield "PostgreSQL", _postgres(postgres)
    yield "MariaDB", _mariadb(mariadb)
    yield "SQLite", _sqlite(folder)


def _table(connector: str, **more: Any) -> dict[str, Any]:
    return {"t": {"connector_type": connector, **more}}


def _duckdb(folder: Path) -> Mapping[str, Any]:
    with duckdb.connect(str(folder / "w.duckdb")) as connection:
        connection.execute(f"CREATE TABLE t AS SELECT {COLUMNS} FROM range({ROWS}) r(i)")
    connections = {"s": {"type": "duckdb", "path": str(folder / "w.duckdb")}}
    return {"connections": connections, "virtual_tables": _table("duckdb", connection="s", table="t")}


def _parquet(folder: Path) -> Mapping[str, Any]:
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT {COLUMNS} FROM range({ROWS}) r(i)) TO '{folder / 't.parquet'}' (FORMAT parquet)"
        )
    return {"virtual_tables": _table("parquet", path=str(folder / "t.parquet"))}


def _postgres(server: PostgresServer) -> Mapping[str, Any]:
    with psycopg.connect(server.uri(), autocommit=True) as connection:
        numbers = f"generate_series(0::bigint, {ROWS - 1}) i"
        connection.execute(f"CREATE TABLE t AS SELECT {COLUMNS} FROM {numbers}".encode())
        connection.execute(b"ALTER TABLE t ADD PRIMARY KEY (id)")
        connection.execute(b"ANALYZE t")
    connections = {"s": {"type": "postgresql", "uri": server.uri()}}
    return {"connections": connections, "virtual_tables": _table("postgresql", connection="s", table="t")}


def _mariadb(server: MariaDBServer) -> Mapping[str, Any]:
    server.execute(
        f"CREATE TABLE t AS SELECT {COLUMNS} FROM (SELECT CAST(seq AS SIGNED) AS i FROM seq_0_to_{ROWS - 1}) r"
    )
    server.execute("ALTER TABLE t ADD PRIMARY KEY (id)")
    server.execute("ANALYZE TABLE t")
    connections = {"s": {"type": "mysql", "uri": server.uri()}}
    return {"connections": connections, "virtual_tables": _table("mysql", connection="s", table="t")}


def _sqlite(folder: Path) -> Mapping[str, Any]:
    with contextlib.closing(sqlite3.connect(folder / "s.sqlite")) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, team TEXT, amount INTEGER, kind INTEGER)")
        steps = f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS - 1})"
        connection.execute(f"INSERT INTO t {steps} SELECT {COLUMNS} FROM n")
        connection.commit()
    connections = {"s": {"type": "sqlite", "path": str(folder / "s.sqlite")}}
    return {"connections": connections, "virtual_tables": _table("sqlite", connection="s", table="t")}


if __name__ == "__main__":
    main()
