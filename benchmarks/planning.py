"""`python -m benchmarks.planning`: how long a query takes from its text to its plan.

The 22 TPC-H queries over PostgreSQL, SQLite, DuckDB and Parquet and the 99 of TPC-DS over Parquet, DuckDB and CSV, for
somebody without policies and for somebody with a row filter and a mask on every table. Planning never looks at rows,
so that the tables are small. Cold is a plan made anew in a process that made others before; cached is one that comes
out of the plan cache. Of each query the median of several runs counts: wall time, and processor time of the process,
which other work on the machine disturbs less.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from tauro_nb.context import VirtualContext
from tauro_nb.query.plan import QueryPlan
from tests.servers import start_postgres
from tests.tpc.data import make_tpcds, make_tpch, queries, tpc_connection
from tests.tpc.sources import TPCDS_MIX, TPCH_SPLIT, Sources

__all__ = ["measure", "policed"]

SCALE = 0.01
REPEATS = int(os.environ.get("TAURO_BENCH_REPEATS", "5"))
ROLE = "analyst"
RESULTS = Path(__file__).resolve().parent / "results" / "planning.json"

Times = dict[str, float]


def policed(config: Mapping[str, Any], columns: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The catalog with a policy on every table: a filter on its first number, a mask on its first text."""
    return {**config, "security_policies": {name: _policy(kinds) for name, kinds in columns.items()}}


def _policy(columns: Mapping[str, str]) -> dict[str, Any]:
    number = next(name for name, kind in columns.items() if kind in ("INTEGER", "BIGINT"))
    texts = [name for name, kind in columns.items() if kind == "VARCHAR"][:1]
    return {
        "row_level_filters": {ROLE: f"{number} >= 0"},
        "field_policies": {name: {"masking_enabled": True, "mask": "last4", "allowed_roles": []} for name in texts},
    }


def measure(ctx: VirtualContext, texts: Mapping[int, str], repeats: int = REPEATS) -> dict[str, dict[int, Times]]:
    """Milliseconds of each query, cold and cached, by query number."""
    planner = ctx.planner
    times: dict[str, dict[int, Times]] = {"cold": {}, "cached": {}}
    for number, text in texts.items():
        plan = partial(planner.plan, text)
        plan()
        times["cold"][number] = _timed(plan, repeats, before=planner.services.plans.clear)
        times["cached"][number] = _timed(plan, repeats)
    return times


def _timed(work: Callable[[], QueryPlan], repeats: int, before: Callable[[], object] | None = None) -> Times:
    walls, cpus = [], []
    for _ in range(repeats):
        if before is not None:
            before()
        wall, cpu = time.perf_counter(), time.process_time()
        plan = work()
        assert plan.cached is (before is None)
        walls.append((time.perf_counter() - wall) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
    return {"wall": statistics.median(walls), "cpu": statistics.median(cpus)}


def summary(times: Mapping[int, Times]) -> Times:
    """Median and maximum over the queries."""
    out = {}
    for clock in ("wall", "cpu"):
        values = [entry[clock] for entry in times.values()]
        out[f"{clock} median"] = round(statistics.median(values), 2)
        out[f"{clock} max"] = round(max(values), 2)
    return out


def _lines(name: str, sources: Sources, texts: Mapping[int, str]) -> list[dict[str, Any]]:
    lines = []
    for policies in (False, True):
        config = sources.config()
        ctx = VirtualContext(policed(config, sources.columns) if policies else config, principal=ROLE)
        try:
            for state, times in measure(ctx, texts).items():
                lines.append({"queries": name, "policies": policies, "state": state, **summary(times)})
                print(lines[-1], "worst:", sorted(times, key=lambda n: -times[n]["cpu"])[:3])
        finally:
            ctx.close()
    return lines


def main() -> None:
    """Make the data, measure, print, and keep the figures."""
    server = start_postgres()
    try:
        with tempfile.TemporaryDirectory() as name, tpc_connection(Path(name) / "extensions") as con:
            folder = Path(name)
            tpch = Sources(folder / "split", make_tpch(folder / "tpch", SCALE), TPCH_SPLIT, server.uri(), "tpch").load()
            tpcds = Sources(folder / "mix", make_tpcds(con, folder / "tpcds", SCALE), TPCDS_MIX).load()
            lines = _lines("TPC-H", tpch, queries(con, "tpch")) + _lines("TPC-DS", tpcds, queries(con, "tpcds"))
    finally:
        server.stop()
    setting = {"load": os.getloadavg()[0], "python": platform.python_version(), "duckdb": duckdb.__version__}
    RESULTS.write_text(json.dumps({**setting, "repeats": REPEATS, "milliseconds": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
