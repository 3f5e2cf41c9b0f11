"""Selective joins across systems: `python -m benchmarks.selective [postgresql] [mariadb] [sqlite]`.

Filtered orders in Parquet, joined to lineitem in a database that has an index on its key. Ours beside plain DuckDB with
the database attached, in one process, in turns; bytes are counted on the wire by a proxy, in a pass of their own.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from benchmarks.proxy import CountingProxy
from tauro_nb.context import VirtualContext
from tauro_nb.sources.extension import load_extension
from tests.mariadb import start_mariadb
from tests.servers import start_postgres
from tests.tpc.data import make_tpch
from tests.tpc.loaders import load_postgres

ROOT = Path(__file__).resolve().parent.parent
SCALE = float(os.environ.get("TAURO_BENCH_SF", "1"))
REPEATS = int(os.environ.get("TAURO_BENCH_REPEATS", "5"))
ENOUGH = 3.0
"""Seconds after which a contestant is not asked the same again: of MariaDB, ATTACH takes that long for once."""
FILTERS = {
    "one day": "o_orderdate = DATE '1995-03-15'",
    "dear": "o_totalprice > 420000",
    "one month": "o_orderdate BETWEEN DATE '1995-03-01' AND DATE '1995-03-31'",
}
SHAPES = {
    "aggregated": "SELECT o_orderpriority, count(*) AS n, sum(l_extendedprice * (1 - l_discount)) AS revenue "
    "FROM orders JOIN lineitem ON l_orderkey = o_orderkey WHERE {} GROUP BY o_orderpriority",
    "rows": "SELECT o_orderkey, o_totalprice, l_quantity, l_extendedprice "
    "FROM orders JOIN lineitem ON l_orderkey = o_orderkey WHERE {}",
}


@dataclass(frozen=True)
class Target:
    """A database with lineitem in it: how we connect, and how DuckDB does."""

    connection: dict[str, Any]
    attach: Callable[[str], tuple[str, str, str]]
    address: str
    has_wire: bool = True


@contextlib.contextmanager
def postgresql(paths: dict[str, Path]) -> Iterator[Target]:
    server = start_postgres()
    try:
        load_postgres(server.uri(), {"lineitem": paths["lineitem"]}, keys={"lineitem": [["l_orderkey"]]})
        attach = lambda uri: ("postgres_scanner", uri, "postgres")  # noqa: E731
        yield Target({"type": "postgresql"}, attach, server.uri())
    finally:
        server.stop()


@contextlib.contextmanager
def mariadb(paths: dict[str, Path]) -> Iterator[Target]:
    server = start_mariadb()
    try:
        server.execute("CREATE DATABASE IF NOT EXISTS bench", "mysql")
        attach = lambda uri: ("mysql_scanner", uri, "mysql")  # noqa: E731
        _fill(("mysql_scanner", server.uri("bench"), "mysql"), paths["lineitem"])
        server.execute("CREATE INDEX by_key ON lineitem (l_orderkey)", "bench")
        yield Target({"type": "mysql"}, attach, server.uri("bench"))
    finally:
        server.stop()


@contextlib.contextmanager
def sqlite(paths: dict[str, Path]) -> Iterator[Target]:
    import sqlite3

    file = paths["lineitem"].with_suffix(".sqlite")
    if not file.exists():
        # SQLite has no decimals, and DuckDB would write them as text.
        _fill(("sqlite_scanner", str(file), "sqlite"), paths["lineitem"], "DOUBLE")
        with contextlib.closing(sqlite3.connect(file)) as made:
            made.execute("CREATE INDEX by_key ON lineitem (l_orderkey)")
    yield Target({"type": "sqlite"}, lambda path: ("sqlite_scanner", path, "sqlite"), str(file), has_wire=False)


TARGETS = {"postgresql": postgresql, "mariadb": mariadb, "sqlite": sqlite}


_AMOUNTS = ("l_quantity", "l_extendedprice", "l_discount")


def _fill(place: tuple[str, str, str], source: Path, kind: str = "DECIMAL(15,2)") -> None:
    amounts = ", ".join(f"{name}::{kind} AS {name}" for name in _AMOUNTS)
    with attached(*place, writing=True) as con:
        con.execute(f"CREATE TABLE there.lineitem AS SELECT l_orderkey, {amounts} FROM '{source}'")


@contextlib.contextmanager
def attached(extension: str, address: str, kind: str, *, writing: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        load_extension(con, extension)
        con.execute("SET enable_progress_bar = false")
        con.execute(f"ATTACH '{address}' AS there (TYPE {kind}{'' if writing else ', READ_ONLY'})")
        yield con


Run = Callable[[str], pa.Table]


@contextlib.contextmanager
def _runners(target: Target, address: str, orders: Path) -> Iterator[dict[str, Run]]:
    """Ours, and ATTACH, over one address."""
    key = "uri" if target.has_wire else "path"
    connector = target.connection["type"]
    config = {
        "connections": {"at": {**target.connection, key: address}},
        "virtual_tables": {
            "orders": {"source_type": "filesystem", "connector_type": "parquet", "path": str(orders)},
            "lineitem": {"connector_type": connector, "connection": "at", "table": "lineitem"},
        },
    }
    with VirtualContext(config=config) as ctx, attached(*target.attach(address)) as con:
        con.execute(f"CREATE VIEW orders AS FROM '{orders}'")
        con.execute("CREATE VIEW lineitem AS FROM there.lineitem")
        yield {
            "ours": lambda text: ctx.query(text).to_arrow(),
            "attach": lambda text: con.execute(text).to_arrow_table(),
        }


def _comparable(table: pa.Table) -> list[str]:
    """Rows in one order; sums of doubles depend on the order they were added in, and have four decimals here."""
    return sorted(
        repr([round(value, 4) if isinstance(value, float) else value for value in row.values()])
        for row in table.to_pylist()
    )


def _in_turns(runners: dict[str, Run], text: str) -> tuple[dict[str, pa.Table], dict[str, list[float]]]:
    """The answer and the seconds of each contestant; the first run of each finds its catalogs cold."""
    answers: dict[str, pa.Table] = {}
    times: dict[str, list[float]] = {who: [] for who in runners}
    for _ in range(1 + REPEATS):
        for who, run in runners.items():
            if sum(times[who]) < ENOUGH:
                started = time.perf_counter()
                answers[who] = run(text)
                times[who].append(time.perf_counter() - started)
    return answers, times


def _moved(target: Target, orders: Path, texts: dict[str, str]) -> dict[str, dict[str, int]]:
    """Bytes that each query moves, both ways, when catalogs are warm."""
    if not target.has_wire:
        return {}
    proxy = CountingProxy(target.address)
    found: dict[str, dict[str, int]] = {name: {} for name in texts}
    try:
        with _runners(target, proxy.uri, orders) as runners:
            for run in runners.values():
                run("SELECT count(*) FROM orders JOIN lineitem ON l_orderkey = o_orderkey WHERE o_orderkey < 0")
            for name, text in texts.items():
                for who, run in runners.items():
                    before = proxy.traffic()
                    run(text)
                    moved = proxy.traffic() - before
                    found[name][who] = moved.received + moved.sent
    finally:
        proxy.close()
    return found


def measure(target: Target, orders: Path) -> dict[str, Any]:
    """Times and bytes of every query over one database."""
    texts = {f"{name}, {shape}": text.format(condition) for name, condition in FILTERS.items()
             for shape, text in SHAPES.items()}  # fmt: skip
    figures: dict[str, Any] = {}
    with _runners(target, target.address, orders) as runners:
        for name, text in texts.items():
            answers, times = _in_turns(runners, text)
            rows = {who: _comparable(table) for who, table in answers.items()}
            figures[name] = {
                "seconds": times,
                "same": rows["ours"] == rows["attach"],
                "rows": answers["ours"].num_rows,
            }
    for name, moved in _moved(target, orders, texts).items():
        figures[name]["bytes"] = moved
    return figures


def page(name: str, figures: dict[str, Any]) -> str:
    """The figures of one database as text."""
    lines = [f"{name:24}{'ours ms':>9}{'attach ms':>11}{'attach/ours':>13}{'bytes ours':>12}{'attach':>13}{'same':>6}"]
    ratios = []
    for query, one in figures.items():
        ours, attach = (min(one["seconds"][who]) for who in ("ours", "attach"))
        ratios.append(attach / ours)
        moved = one.get("bytes", {"ours": 0, "attach": 0})
        lines.append(
            f"{query:24}{ours * 1e3:>9.0f}{attach * 1e3:>11.0f}{attach / ours:>13.1f}{moved['ours']:>12,}"
            f"{moved['attach']:>13,}{'yes' if one['same'] else 'NO':>6}"
        )
    total = [sum(one.get("bytes", {}).get(who, 0) for one in figures.values()) for who in ("ours", "attach")]
    share = f"; bytes {total[0] / total[1]:.2%} of ATTACH's" if total[1] else ""
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    return "\n".join([*lines, f"geometric mean {mean:.1f} times as fast as ATTACH{share}"])


def main(*names: str) -> None:
    paths = make_tpch(ROOT / "benchmarks" / ".data" / f"tpch-{SCALE:g}", SCALE)
    results: dict[str, Any] = {"scale": SCALE, "repeats": REPEATS, "load_before": os.getloadavg()[0]}
    for name in names or TARGETS:
        with TARGETS[name](paths) as target:
            results[name] = measure(target, paths["orders"])
        sys.stdout.write(page(name, results[name]) + "\n\n")
        sys.stdout.flush()
    folder = ROOT / "benchmarks" / ("results" if SCALE == 1 else ".data")
    folder.mkdir(exist_ok=True)
    (folder / "selective.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
