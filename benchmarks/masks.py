"""`python -m benchmarks.masks`: how many values a second each mask hides in DuckDB, on one core.

Counted is the processor time of one thread with the settings of a fenced plan, best of several runs, so that other
processes disturb the figures as little as can be; reading the column and counting is part of it.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import duckdb

from tauro_nb.security.masks import Masker, choose_mask

ROWS = 1_000_000
REPEATS = int(os.environ.get("TAURO_BENCH_REPEATS", "5"))
RESULTS = Path(__file__).resolve().parent / "results" / "masks.json"
TABLE = f"""
    CREATE TABLE t AS SELECT
        'user' || i || '.name@example' || (i % 50) || '.com' AS email,
        format('+1 (555) {{:03d}}-{{:04d}}', i % 1000, i % 10000) AS phone,
        format('{{:03d}}-{{:02d}}-{{:04d}}', i % 1000, i % 100, i % 10000) AS ssn,
        (4111111111111111 + i)::VARCHAR AS card, i::BIGINT AS number, (i * 1.25)::DECIMAL(15,2) AS amount,
        i * 0.37 AS share, DATE '1950-01-01' + (i % 25000)::INTEGER AS born
    FROM range({ROWS}) r(i)
"""
CASES: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("null", "email", "VARCHAR", {}),
    ("default", "email", "VARCHAR", {}),
    ("constant", "email", "VARCHAR", {}),
    ("redact", "email", "VARCHAR", {}),
    ("redact", "email", "VARCHAR", {"shape": True}),
    ("first4", "card", "VARCHAR", {}),
    ("last4", "card", "VARCHAR", {}),
    ("partial", "card", "VARCHAR", {"prefix": 6, "suffix": 4}),
    ("email", "email", "VARCHAR", {}),
    ("phone", "phone", "VARCHAR", {}),
    ("ssn", "ssn", "VARCHAR", {}),
    ("date_trunc", "born", "DATE", {"unit": "month"}),
    ("bucket", "number", "BIGINT", {"size": 10_000}),
    ("bucket", "amount", "DECIMAL(15,2)", {"size": 1000}),
    ("bucket", "share", "DOUBLE", {"size": 100}),
    ("round", "number", "BIGINT", {"digits": -3}),
    ("round", "share", "DOUBLE", {"digits": 0}),
    ("random", "number", "BIGINT", {}),
    ("random", "email", "VARCHAR", {}),
    ("regex", "card", "VARCHAR", {"pattern": "[0-9]{4}", "replacement": "####"}),
    ("sha256_unkeyed", "email", "VARCHAR", {}),
)


def measure() -> list[dict[str, Any]]:
    """The figures of every mask, in millions of values a second of one core."""
    with duckdb.connect(config={"threads": "1"}) as con:
        con.execute("SET disabled_optimizers = 'statistics_propagation'")
        con.execute(TABLE)
        figures = []
        for name, column, kind, options in CASES:
            masker = choose_mask(column, name, options=options)
            figures.append({
                "mask": name, "options": options, "type": kind,
                "million_values_per_second": round(ROWS / _best(con, masker, column, kind) / 1e6, 1),
            })  # fmt: skip
        return figures


def _best(con: duckdb.DuckDBPyConnection, masker: Masker, column: str, kind: str) -> float:
    sql = f"SELECT count(m) FROM (SELECT {masker.compile(column, kind).sql('duckdb')} AS m FROM t)"
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        con.execute(sql).fetchall()
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    """Measure, print, and keep the figures."""
    figures = measure()
    for figure in figures:
        print(
            f"{figure['million_values_per_second']:8.1f} M/s  {figure['mask']} of {figure['type']} {figure['options']}"
        )
    RESULTS.write_text(json.dumps({"duckdb": duckdb.__version__, "rows": ROWS, "masks": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
