"""Sixteen people at once: `python -m benchmarks.users`.

Threads of one process ask mixed questions for a minute, over PostgreSQL and Parquet: ours as one context, as a context
with a principal for each, and as contexts that share nothing; beside them plain DuckDB with the database attached and a
cursor for each. Every answer is compared with the right one.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from tauro_nb.context import VirtualContext
from tauro_nb.sources.extension import load_extension
from tests.servers import PostgresServer, start_postgres
from tests.tpc.data import make_tpch
from tests.tpc.loaders import load_postgres

ROOT = Path(__file__).resolve().parent.parent
SCALE = float(os.environ.get("TAURO_BENCH_SF", "0.1"))
USERS = int(os.environ.get("TAURO_BENCH_USERS", "16"))
SECONDS = float(os.environ.get("TAURO_BENCH_SECONDS", "60"))
IN_POSTGRES = ("customer", "lineitem", "nation")
INDEXES = {"customer": [["c_custkey"]], "lineitem": [["l_orderkey"]], "nation": [["n_nationkey"]]}
TABLES = ("customer", "lineitem", "nation", "orders")

QUESTIONS: Mapping[str, str] = {
    "one customer": "SELECT c_name, c_acctbal FROM customer WHERE c_custkey = {}",
    "lines of a day": "SELECT o_orderpriority, count(*) AS n, sum(l_quantity) AS q FROM orders JOIN lineitem "
    "ON l_orderkey = o_orderkey WHERE o_orderdate = DATE '1995-03-01' + {} GROUP BY 1",
    "a nation's customers": "SELECT n_name, count(*) AS n, max(c_acctbal) AS m FROM customer JOIN nation "
    "ON n_nationkey = c_nationkey WHERE n_nationkey = {} GROUP BY 1",
    "orders of a clerk": "SELECT o_orderkey, o_totalprice FROM orders WHERE o_custkey = {} ORDER BY 1",
    "best of a nation": "SELECT c_custkey, c_acctbal FROM customer WHERE c_nationkey = {} "
    "ORDER BY c_acctbal DESC, c_custkey LIMIT 10",
    "spent by customers": "SELECT c_custkey, sum(o_totalprice) AS s FROM customer JOIN orders ON o_custkey = c_custkey "
    "WHERE c_nationkey = {} AND o_orderdate > DATE '1998-07-01' GROUP BY 1",
}
VALUES = range(20)
"""What questions are asked with."""

Ask = Callable[[str], list[tuple[Any, ...]]]


@dataclass
class Tally:
    """What all users of one contestant met."""

    times: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wrong: int = 0
    connections: int = 0


def ours(*, shared: bool, principals: bool) -> Callable[..., Any]:
    @contextlib.contextmanager
    def users(paths: Mapping[str, Path], uri: str) -> Iterator[list[Ask]]:
        config = {
            "connections": {"pg": {"type": "postgresql", "uri": uri}},
            "virtual_tables": {
                name: {"connection": "pg", "connector_type": "postgresql", "table": name}
                if name in IN_POSTGRES
                else {"connector_type": "parquet", "path": str(paths[name])}
                for name in TABLES
            },
            "principals": {f"user {number}": ["analyst"] for number in range(USERS)},
        }
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(VirtualContext(config))
            if not shared:
                contexts = [first, *(stack.enter_context(VirtualContext(config)) for _ in range(USERS - 1))]
            elif principals:
                contexts = [first.as_principal(f"user {number}") for number in range(USERS)]
            else:
                contexts = [first] * USERS
            yield [_asked(ctx) for ctx in contexts]

    return users


def _asked(ctx: VirtualContext) -> Ask:
    return lambda sql: _rows(ctx.query(sql).to_arrow())


def _rows(table: Any) -> list[tuple[Any, ...]]:
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True), key=repr)


@contextlib.contextmanager
def attached(paths: Mapping[str, Path], uri: str) -> Iterator[list[Ask]]:
    """What people do without us."""
    with duckdb.connect() as con:
        con.execute("SET enable_progress_bar = false")
        load_extension(con, "postgres_scanner")
        con.execute(f"ATTACH '{uri}' AS pg (TYPE postgres, READ_ONLY)")
        for name in TABLES:
            con.execute(
                f"CREATE VIEW {name} AS FROM {f'pg.public.{name}' if name in IN_POSTGRES else repr(str(paths[name]))}"
            )
        cursors = [con.cursor() for _ in range(USERS)]
        yield [lambda sql, cursor=cursor: _rows(cursor.execute(sql).to_arrow_table()) for cursor in cursors]  # type: ignore[misc]


CONTESTANTS: Mapping[str, Any] = {
    "ours, one context": ours(shared=True, principals=False),
    "ours, a principal each": ours(shared=True, principals=True),
    "ours, a context each": ours(shared=False, principals=False),
    "attach, a cursor each": attached,
}


def answers(paths: Mapping[str, Path]) -> dict[str, list[tuple[Any, ...]]]:
    """Every question's right answer, from plain DuckDB over files."""
    with duckdb.connect() as con:
        for name in TABLES:
            con.execute(f"CREATE VIEW {name} AS FROM '{paths[name]}'")
        texts = [text.format(value) for text in QUESTIONS.values() for value in VALUES]
        return {text: _rows(con.execute(text).to_arrow_table()) for text in texts}


def one_user(ask: Ask, seed: int, until: float, right: Mapping[str, Any], tally: Tally) -> None:
    rng = random.Random(seed)
    texts = list(right)
    while time.monotonic() < until:
        text = rng.choice(texts)
        started = time.perf_counter()
        try:
            found = ask(text)
        except Exception as error:  # noqa: BLE001 - an error is a result, and is counted
            tally.errors.append(f"{type(error).__name__}: {error}")
            continue
        tally.times.append(time.perf_counter() - started)
        tally.wrong += found != right[text]


def watch(server: PostgresServer, until: float, tally: Tally) -> None:
    """Count the server's clients, besides this one, every half second."""
    with psycopg.connect(server.uri(), autocommit=True) as connection:
        while time.monotonic() < until:
            found = connection.execute(
                "SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'"
            ).fetchone()
            assert found is not None
            tally.connections = max(tally.connections, int(found[0]))
            time.sleep(0.5)


def run(contestant: Any, paths: Mapping[str, Path], server: PostgresServer, right: Mapping[str, Any]) -> dict[str, Any]:
    """One contestant's minute."""
    tally = Tally()
    with contestant(paths, server.uri()) as users:
        for ask in users:
            ask(next(iter(right)))
        until, cpu = time.monotonic() + SECONDS, time.process_time()
        threads = [threading.Thread(target=one_user, args=(ask, n, until, right, tally)) for n, ask in enumerate(users)]
        threads.append(threading.Thread(target=watch, args=(server, until, tally)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    spent = time.process_time() - cpu
    times = sorted(tally.times)
    return {
        "queries": len(times),
        "per_second": round(len(times) / SECONDS, 1),
        "p50_ms": round(statistics.median(times) * 1000, 1),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 1),
        "cpu_ms_per_query": round(spent / len(times) * 1000, 2),
        "connections": tally.connections,
        "errors": len(tally.errors),
        "wrong": tally.wrong,
        "first_errors": tally.errors[:3],
    }


def main() -> None:
    """Measure everybody, and store the figures."""
    paths = make_tpch(ROOT / "benchmarks" / ".data" / f"tpch-{SCALE:g}", SCALE)
    right = answers(paths)
    server = start_postgres()
    figures: dict[str, Any] = {
        "users": USERS,
        "seconds": SECONDS,
        "scale": SCALE,
        "load": os.getloadavg()[0],
        "results": {},
    }
    try:
        load_postgres(server.uri(), {name: paths[name] for name in IN_POSTGRES}, keys=INDEXES)
        for name, contestant in CONTESTANTS.items():
            figures["results"][name] = found = run(contestant, paths, server, right)
            print(f"{name:<24}", json.dumps(found))
    finally:
        server.stop()
    (ROOT / "benchmarks" / "results" / "users.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
