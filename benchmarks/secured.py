"""`python -m benchmarks.secured`: what policies cost. TPC-H and point lookups, with and without, in one run.

Every table has a row filter that keeps all of its rows, and some columns that no query depends on are masked: the
secured queries have the same work to do and the same answers to give, so that what differs is the price of the policy.
Two places: everything in PostgreSQL, everything in Parquet. Four doors: without policies, behind the default barrier,
behind the strict one, and without policies over views with the same conditions: what those cost by themselves, for the
engine reads a column more and expects a condition to leave a fifth of the rows. Rounds are interleaved; ratios are of
minima.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb

from benchmarks.report import table
from tauro_nb.context import VirtualContext
from tests.servers import start_postgres
from tests.tpc.data import make_tpch, queries, tpc_connection
from tests.tpc.loaders import load_postgres

ROOT: Final = Path(__file__).resolve().parent.parent
ROLE: Final = "analyst"
DOORS: Final = ("unsecured", "leakproof", "strict", "by hand")

FILTERS: Final[Mapping[str, str]] = {
    "customer": "c_custkey > 0",
    "orders": "o_orderkey > 0",
    "lineitem": "l_orderkey > 0",
    "part": "p_partkey > 0",
    "partsupp": "ps_partkey > 0",
    "supplier": "s_suppkey > 0",
    "nation": "n_nationkey >= 0",
    "region": "r_regionkey >= 0",
    "points": "id >= 0",
}
KEYS: Final[Mapping[str, list[list[str]]]] = {
    "customer": [["c_custkey"], ["c_nationkey"]],
    "orders": [["o_orderkey"], ["o_custkey"]],
    "lineitem": [["l_orderkey"], ["l_partkey", "l_suppkey"]],
    "part": [["p_partkey"]],
    "partsupp": [["ps_partkey"], ["ps_suppkey"]],
    "supplier": [["s_suppkey"], ["s_nationkey"]],
    "nation": [["n_nationkey"]],
    "region": [["r_regionkey"]],
    "points": [["id"]],
}


def main() -> None:
    """Make the data, run, print; `--save` writes the figures beside the other results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=0.3)
    parser.add_argument("--points", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--places", nargs="+", default=["parquet", "postgresql"])
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    figures = {"setting": _setting(options)}
    paths = _data(options.scale, options.points)
    with _server() as uri:
        if "postgresql" in options.places:
            load_postgres(uri, paths, keys=KEYS)
        for place in options.places:
            figures[place] = _race(place, paths, uri, options.rounds)
    print(_page(figures))
    if options.save:
        target = ROOT / "benchmarks" / "results" / "secured.json"
        target.write_text(json.dumps(figures, indent=1) + "\n")


def _setting(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "scale": options.scale,
        "points": options.points,
        "rounds": options.rounds,
        "cpus": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
    }


@contextmanager
def _server() -> Iterator[str]:
    server = start_postgres()
    try:
        yield server.uri()
    finally:
        server.stop()


def _data(scale: float, points: int) -> dict[str, Path]:
    folder = ROOT / "benchmarks" / ".data"
    paths = make_tpch(folder / f"tpch-{scale:g}", scale)
    path = folder / f"points-{points}.parquet"
    if not path.exists():
        rows = "SELECT i AS id, i % 1000 AS bucket, 'name ' || i AS name, 'secret-' || i AS secret"
        duckdb.execute(f"COPY ({rows} FROM range({points}) t(i)) TO '{path}'")
    return {**paths, "points": path}


def _catalog(place: str, paths: Mapping[str, Path], uri: str, door: str) -> dict[str, Any]:
    tables = {
        name: {"connector_type": "postgresql", "connection": "pg", "table": name}
        if place == "postgresql"
        else {"connector_type": "parquet", "path": str(path)}
        for name, path in paths.items()
    }
    if door == "by hand":
        views = {name: {"query": f"SELECT * FROM {name}_whole WHERE {FILTERS[name]}"} for name in tables}
        tables = {f"{name}_whole": definition for name, definition in tables.items()} | views
    policies = {
        name: {
            "row_level_filters": {ROLE: condition},
            "field_policies": {"secret": {"mask": "last4", "allowed_roles": ["admin"]}} if name == "points" else {},
        }
        for name, condition in FILTERS.items()
    }
    return {
        "connections": {"pg": {"type": "postgresql", "uri": uri}},
        "virtual_tables": tables,
        "security_policies": policies if door in ("leakproof", "strict") else {},
        "security": {"barrier": "strict" if door == "strict" else "leakproof"},
    }


def _race(place: str, paths: Mapping[str, Path], uri: str, rounds: int) -> dict[str, Any]:
    contexts = {
        door: VirtualContext(_catalog(place, paths, uri, door)).as_principal("ana", roles=[ROLE]) for door in DOORS
    }
    texts = {f"Q{number}": text for number, text in _tpch().items()} | {
        "point": "SELECT id, name FROM points WHERE id = 4321",
        "point, masked column shown": "SELECT id, name, secret FROM points WHERE id = 1234",
    }
    figures = {name: _measure(contexts, text, rounds * (10 if "point" in name else 1)) for name, text in texts.items()}
    for context in contexts.values():
        context.close()
    return figures


def _tpch() -> dict[int, str]:
    with tempfile.TemporaryDirectory() as folder, tpc_connection(Path(folder)) as con:
        return queries(con, "tpch")


def _measure(contexts: Mapping[str, VirtualContext], text: str, rounds: int) -> dict[str, Any]:
    """Seconds of each door, in turn; a warm-up first, whose row counts must agree."""
    rows = {door: context.query(text).to_arrow().num_rows for door, context in contexts.items()}
    seconds: dict[str, list[float]] = {door: [] for door in contexts}
    doors = list(contexts)
    for turn in range(rounds):
        for place in range(len(doors)):
            door = doors[(turn + place) % len(doors)]
            started = time.perf_counter()
            contexts[door].query(text).to_arrow()
            seconds[door].append(time.perf_counter() - started)
    return {"rows": rows, "seconds": seconds}


def _ratio(figure: Mapping[str, Any], door: str) -> float:
    return float(min(figure["seconds"][door]) / min(figure["seconds"]["unsecured"]))


def _geomean(values: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def _page(figures: Mapping[str, Any]) -> str:
    places = [key for key in figures if key != "setting"]
    return "\n\n".join(f"### {place}\n\n{_table(figures[place])}" for place in places)


def _table(found: Mapping[str, Any]) -> str:
    header = ["query", *(f"{door} ms" for door in DOORS), *(f"{door} / unsecured" for door in DOORS[1:]), "same rows"]
    rows = [_row(name, one) for name, one in found.items()]
    for label, wanted in (("TPC-H, geometric mean", "Q"), ("points, geometric mean", "point")):
        chosen = [one for name, one in found.items() if name.startswith(wanted)]
        means = [_geomean([_ratio(one, door) for one in chosen]) for door in DOORS[1:]]
        rows.append([label, *("" for _ in DOORS), *(f"{mean:.2f}" for mean in means), ""])
    return table(header, rows)


def _row(name: str, one: Mapping[str, Any]) -> list[str]:
    times = [f"{min(one['seconds'][door]) * 1000:.1f}" for door in DOORS]
    ratios = [f"{_ratio(one, door):.2f}" for door in DOORS[1:]]
    return [name, *times, *ratios, "yes" if len(set(one["rows"].values())) == 1 else "**no**"]


if __name__ == "__main__":
    main()
