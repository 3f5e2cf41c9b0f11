"""Whole tables as streams of Arrow batches: `python -m benchmarks.transport [postgresql] [mariadb] [sqlite]`.

Lineitem of TPC-H (6 million rows, 16 columns at scale 1) read through each door; of it a fifth in MariaDB and SQLite.
Every reading is a process of its own, which connects, takes the batches one by one and drops them; the clock starts
after its imports. `again` is the first batch of a second query over the same connection. Peak memory is the process's
highest resident set, processor time its own without the server's. Contestants take turns.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.selective import ROOT, SCALE, attached
from benchmarks.setting import peak_mb
from tests.mariadb import start_mariadb
from tests.servers import start_postgres
from tests.tpc.data import make_tpch
from tests.tpc.loaders import load_postgres, load_sqlite

__all__ = ["peak_mb"]

REPEATS = int(os.environ.get("TAURO_BENCH_REPEATS", "5"))
TABLE = "lineitem"
BATCH_ROWS = 8_192
"""As many as ours have."""
Door = Callable[[], Iterable[pa.RecordBatch]]
"""Asks for the whole table over a connection that is there."""


@contextlib.contextmanager
def ours(kind: str, address: str, max_bytes: str | None = None) -> Iterator[Door]:
    """With a limit of bytes everything is counted on its way."""
    from tauro_nb.context import VirtualContext

    connector = {"mariadb": "mysql"}.get(kind, kind)
    at = {"type": connector, "path" if kind == "sqlite" else "uri": address}
    table = {"connector_type": connector, "connection": "at", "table": TABLE}
    with VirtualContext({"connections": {"at": at}, "virtual_tables": {TABLE: table}}) as ctx:
        yield lambda: ctx.query(f"SELECT * FROM {TABLE}", max_bytes=max_bytes).to_batches()


@contextlib.contextmanager
def attach(kind: str, address: str) -> Iterator[Door]:
    """DuckDB with the database attached."""
    short = {"postgresql": "postgres", "mariadb": "mysql"}.get(kind, kind)
    with attached(f"{short}_scanner", address, short) as con:
        yield lambda: con.execute(f"FROM there.{TABLE}").to_arrow_reader(BATCH_ROWS)


@contextlib.contextmanager
def adbc(kind: str, address: str) -> Iterator[Door]:
    """The driver of the Arrow project; numerics come as text of an opaque type."""
    del kind
    import adbc_driver_postgresql.dbapi as driver

    def ask() -> Iterator[pa.RecordBatch]:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {TABLE}")
            yield from cursor.fetch_record_batch()

    with driver.connect(address) as connection:
        yield ask


READERS: dict[str, Callable[[str, str], contextlib.AbstractContextManager[Door]]] = {
    "ours": ours,
    "ours, counted": partial(ours, max_bytes="1TB"),
    "attach": attach,
    "adbc": adbc,
}
CONTESTANTS = {
    "postgresql": ("ours", "ours, counted", "attach", "adbc"),
    "mariadb": ("ours", "ours, counted", "attach"),
    "sqlite": ("ours", "ours, counted", "attach"),
}


@contextlib.contextmanager
def postgresql(paths: dict[str, Path]) -> Iterator[str]:
    server = start_postgres()
    try:
        load_postgres(server.uri(), {TABLE: paths[TABLE]})
        yield server.uri()
    finally:
        server.stop()


@contextlib.contextmanager
def mariadb(paths: dict[str, Path]) -> Iterator[str]:
    server = start_mariadb()
    try:
        server.execute("CREATE DATABASE IF NOT EXISTS bench", "mysql")
        with attached("mysql_scanner", server.uri("bench"), "mysql", writing=True) as con:
            con.execute(f"CREATE TABLE there.{TABLE} AS FROM '{paths[TABLE]}'")
        yield server.uri("bench")
    finally:
        server.stop()


@contextlib.contextmanager
def sqlite(paths: dict[str, Path]) -> Iterator[str]:
    file = paths[TABLE].with_name("transport.sqlite")
    if not file.exists():
        load_sqlite(file, {TABLE: paths[TABLE]})
    yield str(file)


PLACES = {"postgresql": postgresql, "mariadb": mariadb, "sqlite": sqlite}


SHARES = {"postgresql": 1.0, "mariadb": 0.2, "sqlite": 0.2}
"""Of the scale that is asked for: the other two take long to fill."""


def read(who: str, kind: str, address: str) -> dict[str, Any]:
    """Connect, take all batches and drop them; then ask again, for the first alone."""
    if who.startswith("ours"):
        import psycopg  # noqa: F401
        import pymysql  # noqa: F401

        import tauro_nb.context
        import tauro_nb.query.planner  # noqa: F401
    imported, processor, started = peak_mb(), time.process_time(), time.perf_counter()
    with READERS[who](kind, address) as door:
        first, rows, volume = None, 0, 0
        for batch in door():
            first = time.perf_counter() - started if first is None else first
            rows += batch.num_rows
            volume += batch.nbytes
        figures = {
            "seconds": time.perf_counter() - started,
            "first_batch": first,
            "rows": rows,
            "arrow_bytes": volume,
            "cpu_seconds": time.process_time() - processor,
            "imported_mb": imported,
            "peak_mb": peak_mb(),
        }
        again = time.perf_counter()
        stream = iter(door())  # kept: to drop it is to stop the query
        next(stream)
        return {**figures, "first_batch_again": time.perf_counter() - again}


def _reading(who: str, kind: str, address: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.transport", "--read", who, kind, address]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def measure(kind: str, address: str) -> dict[str, list[dict[str, Any]]]:
    """All readings of one source, by contestant."""
    found: dict[str, list[dict[str, Any]]] = {who: [] for who in CONTESTANTS[kind]}
    for _ in range(REPEATS):
        for who, readings in found.items():
            readings.append(_reading(who, kind, address))
    return found


def page(kind: str, found: dict[str, list[dict[str, Any]]]) -> str:
    """Medians, and how our rate compares with DuckDB's."""
    lines = [f"{kind:14}{'s':>8}{'rows/s':>12}{'first s':>9}{'again s':>9}{'cpu s':>8}{'peak MB':>9}"]
    middle = {
        who: {name: statistics.median(one[name] for one in readings) for name in readings[0]}
        for who, readings in found.items()
    }
    lines += [
        f"{who:14}{one['seconds']:>8.2f}{one['rows'] / one['seconds']:>12,.0f}{one['first_batch']:>9.3f}"
        f"{one['first_batch_again']:>9.3f}{one['cpu_seconds']:>8.2f}{one['peak_mb']:>9.0f}"
        for who, one in middle.items()
    ]
    if len({one["rows"] for one in middle.values()}) != 1:
        lines.append("NOT THE SAME NUMBER OF ROWS")
    return "\n".join(
        [*lines, f"ours {middle['attach']['seconds'] / middle['ours']['seconds']:.2f} times ATTACH's rate"]
    )


def main(*names: str) -> None:
    """Measure the named places, and keep the figures of the others."""
    folder = ROOT / "benchmarks" / ("results" if SCALE == 1 else ".data")
    folder.mkdir(exist_ok=True)
    file = folder / "transport.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for name in names or PLACES:
        load, scale = os.getloadavg()[0], SCALE * SHARES[name]
        paths = make_tpch(ROOT / "benchmarks" / ".data" / f"tpch-{scale:g}", scale)
        with PLACES[name](paths) as address:
            found = measure(name, address)
        results[name] = {"scale": scale, "repeats": REPEATS, "load_before": load, "readings": found}
        sys.stdout.write(page(name, found) + "\n\n")
        sys.stdout.flush()
    file.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        sys.stdout.write(json.dumps(read(*sys.argv[2:])))
    else:
        main(*sys.argv[1:])
