"""The figures as a page a person can read."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["page", "summary", "table"]


_PAGE = """\
# Benchmarks

Written by `make bench`; the raw figures of the same run are in
[benchmarks/results](../benchmarks/results/{name}.json).

## TPC-H, split over PostgreSQL and Parquet

Scale factor {scale_factor:g}. `customer`, `orders`, `nation`, `region` and `supplier` are in PostgreSQL, with indexes
on their keys; `lineitem`, `part` and `partsupp` are Parquet files. {cpus} CPUs, Python {python}, DuckDB {duckdb},
PostgreSQL on the same machine (loopback). Each query: one warm-up, then {repeats} rounds in which all contestants run,
in rotating order, each in a process of its own. Times are wall-clock milliseconds from SQL text to Arrow table. The
load average before the run was {load_before:.1f}: well above zero, other work took part of the CPUs, and ratios count
for more than times.

- **ours**: `VirtualContext(config).query(sql).to_arrow()`, default settings
- **attach**: plain DuckDB, `ATTACH ... (TYPE postgres)`, views over the attached tables and the files
- **local**: plain DuckDB over Parquet files of all eight tables; no federation at all

{summary}

{queries}

Bytes are counted on the wire, by a proxy between the contestant and PostgreSQL, in a pass of their own with warm
catalogs; `read` is what the server sent.

## Loading the extension

`%load_ext tauro_nb` adds {added:.0f} ms to a bare IPython (median of {pairs} interleaved pairs of processes;
{bare:.0f} ms bare, {loaded:.0f} ms loaded, minima).
"""


def page(figures: Mapping[str, Any]) -> str:
    """docs/benchmarks.md."""
    loading = figures["load_ext"]
    return _PAGE.format(
        **figures["setting"],
        name=figures["name"],
        summary=_summary_table(summary(figures)),
        queries=_query_table(figures),
        added=loading["added_seconds_median"] * 1000,
        bare=loading["bare_seconds"] * 1000,
        loaded=loading["loaded_seconds"] * 1000,
        pairs=loading["repeats"],
    )


def summary(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The few numbers that matter."""
    queries = figures["queries"]
    done = {n: q for n, q in queries.items() if all("seconds" in q[name] for name in ("ours", "attach", "local"))}
    plans = [value for q in done.values() for value in q["ours"]["plan_ms"] if value is not None]
    totals = {
        name: sum(counted["received"] for counted in of_queries.values())
        for name, of_queries in figures["bytes"].items()
    }
    return {
        "queries": len(queries),
        "completed": len(done),
        "same_answers": sum(q["same_answer"] for q in queries.values()),
        "geomean_attach_min": _geomean(_ratio(q, "attach", min) for q in done.values()),
        "geomean_attach_median": _geomean(_ratio(q, "attach", statistics.median) for q in done.values()),
        "geomean_local_min": _geomean(_ratio(q, "local", min) for q in done.values()),
        "slower_than_attach": [n for n, q in done.items() if _ratio(q, "attach", min) > 1],
        "plan_ms_median": statistics.median(plans) if plans else math.nan,
        "plan_ms_max": max(plans, default=math.nan),
        "read_bytes": totals,
        "peak_mb": figures["peak_mb"],
    }


def _ratio(query: Mapping[str, Any], rival: str, statistic: Any) -> float:
    return float(statistic(query["ours"]["seconds"]) / statistic(query[rival]["seconds"]))


def _geomean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def _summary_table(found: Mapping[str, Any]) -> str:
    slower = ", ".join(f"Q{number}" for number in found["slower_than_attach"]) or "none"
    read, peak = found["read_bytes"], found["peak_mb"]
    return table(
        ["", ""],
        [
            ["queries completed", f"{found['completed']} of {found['queries']}"],
            ["same answer from all three", f"{found['same_answers']} of {found['queries']}"],
            ["ours / attach, geometric mean of minima", f"{found['geomean_attach_min']:.2f}"],
            ["ours / attach, geometric mean of medians", f"{found['geomean_attach_median']:.2f}"],
            ["ours / local, geometric mean of minima", f"{found['geomean_local_min']:.2f}"],
            ["slower than attach", slower],
            ["planning, median / maximum", f"{found['plan_ms_median']:.1f} ms / {found['plan_ms_max']:.1f} ms"],
            ["read from PostgreSQL, all queries, ours / attach", f"{_mb(read['ours'])} / {_mb(read['attach'])} MB"],
            ["peak memory ours / attach / local", " / ".join(f"{peak[n]:.0f}" for n in ("ours", "attach", "local"))
             + " MB"],
        ],
    )  # fmt: skip


def _query_table(figures: Mapping[str, Any]) -> str:
    header = ["query", "ours min", "median", "attach min", "median", "local min", "ours/attach", "plan", "read MB ours",
              "read MB attach", "same"]  # fmt: skip
    return table(header, [_query_row(figures, number) for number in figures["queries"]])


def _query_row(figures: Mapping[str, Any], number: Any) -> list[str]:
    query = figures["queries"][number]
    cells = [f"Q{number}"]
    for name in ("ours", "attach"):
        cells += [_ms(query[name], min), _ms(query[name], statistics.median)]
    cells.append(_ms(query["local"], min))
    failed = any("error" in query[name] for name in ("ours", "attach"))
    cells.append("" if failed else f"{_ratio(query, 'attach', min):.2f}")
    plans = [value for value in query["ours"].get("plan_ms", ()) if value is not None]
    cells.append(f"{statistics.median(plans):.1f}" if plans else "")
    cells += [_mb(figures["bytes"][name][number]["received"]) for name in ("ours", "attach")]
    return [*cells, "yes" if query["same_answer"] else "**no**"]


def _ms(one: Mapping[str, Any], statistic: Any) -> str:
    return "error" if "error" in one else f"{statistic(one['seconds']) * 1000:.1f}"


def _mb(number: float) -> str:
    return f"{number / 1e6:.2f}"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
