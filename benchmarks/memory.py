"""A join of two streams that are each ten times what the engine may hold: `python -m benchmarks.memory`.

Two tables of generated rows, about half a kilobyte each, come from two connections of a PostgreSQL and are joined row
to row; the consumer drops the batches. TAURO_BENCH_MEMORY is the limit in megabytes (500), each stream ten times that
as Arrow. Every join runs in a process of its own; what counts is its highest resident set, with Python and all
libraries. DuckDB with the same limit and the same two questions runs beside.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.selective import ROOT, attached
from benchmarks.setting import peak_mb
from tests.servers import start_postgres

LIMIT_MB = int(os.environ.get("TAURO_BENCH_MEMORY", "500"))
TIMES = 10
ROW_BYTES = 512
ROWS = LIMIT_MB * 1_000_000 * TIMES // ROW_BYTES
ALLOWED_MB = LIMIT_MB + 600
# Each side in an order of its own, so that equal keys do not arrive together.
SIDES = {
    "a": f"SELECT i AS id, repeat(md5(i::text), 15) AS text FROM generate_series(1, {ROWS}) t(i)",
    "b": f"SELECT {ROWS} - i + 1 AS id, repeat(md5(i::text), 15) AS text FROM generate_series(1, {ROWS}) t(i)",
}
JOIN = "SELECT a.id, a.text AS one, b.text AS other FROM a JOIN b ON a.id = b.id"
CONTESTANTS = ("ours", "ours, counted", "duckdb")


@contextlib.contextmanager
def _ours(uri: str, spill: str, max_bytes: str | None) -> Iterator[Iterable[pa.RecordBatch]]:
    from tauro_nb.context import VirtualContext

    config = {
        "engine": {"memory_limit": f"{LIMIT_MB}MB", "temp_directory": spill},
        "connections": {name: {"type": "postgresql", "uri": uri} for name in SIDES},
        "virtual_tables": {name: {"connection": name, "query": query} for name, query in SIDES.items()},
    }
    with VirtualContext(config) as ctx:
        yield ctx.query(JOIN, max_bytes=max_bytes).to_batches()


@contextlib.contextmanager
def _duckdb(uri: str, spill: str) -> Iterator[Iterable[pa.RecordBatch]]:
    with attached("postgres_scanner", uri, "postgres") as con:
        con.execute(f"SET memory_limit = '{LIMIT_MB}MB'")
        con.execute(f"SET temp_directory = '{spill}/duckdb'")
        for name, query in SIDES.items():
            quoted = query.replace("'", "''")
            con.execute(f"CREATE VIEW {name} AS FROM postgres_query('there', '{quoted}')")
        yield con.execute(JOIN).to_arrow_reader(8_192)


def join(who: str, uri: str, spill: str) -> dict[str, Any]:
    """Run the join and drop its rows; what it took."""
    door = _duckdb(uri, spill) if who == "duckdb" else _ours(uri, spill, "1TB" if who.endswith("counted") else None)
    started, processor, rows, volume, spilled = time.perf_counter(), time.process_time(), 0, 0, 0
    with door as batches:
        for batch in batches:
            rows += batch.num_rows
            volume += batch.nbytes
            spilled = max(spilled, sum(file.stat().st_size for file in Path(spill).rglob("*") if file.is_file()))
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - processor,
        "rows": rows,
        "arrow_bytes": volume,
        "spilled_bytes": spilled,
        "peak_mb": peak_mb(),
    }


def _joined(who: str, uri: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=ROOT / "benchmarks" / ".data") as spill:
        command = [sys.executable, "-m", "benchmarks.memory", "--join", who, uri, spill]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        return {"error": done.stderr.strip().splitlines()[-1]}
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def page(figures: dict[str, dict[str, Any]]) -> str:
    """The figures as text."""
    lines = [f"limit {LIMIT_MB} MB, two streams of {ROWS:,} rows; allowed {ALLOWED_MB} MB", "",
             f"{'':14}{'s':>8}{'cpu s':>8}{'rows':>12}{'spilled MB':>12}{'peak MB':>9}"]  # fmt: skip
    for who, one in figures.items():
        if "error" in one:
            lines.append(f"{who:14}{one['error']}")
            continue
        lines.append(
            f"{who:14}{one['seconds']:>8.1f}{one['cpu_seconds']:>8.1f}{one['rows']:>12,}"
            f"{one['spilled_bytes'] / 1e6:>12,.0f}{one['peak_mb']:>9,.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    (ROOT / "benchmarks" / ".data").mkdir(exist_ok=True)
    load = os.getloadavg()[0]
    server = start_postgres()
    try:
        figures = {who: _joined(who, server.uri()) for who in CONTESTANTS}
    finally:
        server.stop()
    sys.stdout.write(page(figures) + "\n")
    results = {"limit_mb": LIMIT_MB, "times": TIMES, "rows": ROWS, "load_before": load, "joins": figures}
    folder = ROOT / "benchmarks" / ("results" if LIMIT_MB == 500 else ".data")
    (folder / "memory.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--join"]:
        sys.stdout.write(json.dumps(join(*sys.argv[2:])))
    else:
        main()
