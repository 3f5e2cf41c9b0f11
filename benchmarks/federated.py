"""Joins over several databases: `python -m benchmarks.federated [v0] [v1] [v2] [files] [mariadb] [one]`.

`v0`, `v1` and `v2` are the ten TPC-H queries of Accio's workload with the tables in two PostgreSQL databases, placed
as there; in `files` lineitem is Parquet. `mariadb` and `one` are all 22 queries, with part, partsupp and supplier in
MariaDB and the rest in Parquet, and with everything in one PostgreSQL and three questions more. Ours beside DuckDB with
the databases attached, frames that Ibis reads, and local files: on loopback, and over 200 Mbit/s with 5 ms each way.

TAURO_BENCH_SF, TAURO_BENCH_REPEATS and TAURO_BENCH_QUERIES as elsewhere; TAURO_BENCH_WIRES is `fast`, `slow` or both;
TAURO_BENCH_WHO names contestants (`ours,attach,local`; `frames` takes minutes at full scale).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import duckdb

from benchmarks.proxy import SLOW
from benchmarks.race import race, slow_race
from benchmarks.setting import DISTRIBUTIONS, INDEXES, Database, Setting
from tests.mariadb import start_mariadb
from tests.servers import start_postgres
from tests.tpc.data import extension_file, make_tpch, queries, tpc_connection
from tests.tpc.loaders import load_postgres

__all__ = ["page", "texts_for"]

ROOT = Path(__file__).resolve().parent.parent
SCALE = float(os.environ.get("TAURO_BENCH_SF", "1"))
REPEATS = int(os.environ.get("TAURO_BENCH_REPEATS", "3"))
WIRES = os.environ.get("TAURO_BENCH_WIRES", "fast,slow").split(",")
WHO = tuple(os.environ.get("TAURO_BENCH_WHO", "ours,attach,local").split(","))

ACCIO: Final = (3, 5, 7, 8, 9, 10, 12, 14, 18, 19)
_MORE: Final = {
    "top": "SELECT l_orderkey, l_extendedprice FROM lineitem ORDER BY l_extendedprice DESC, l_orderkey LIMIT 10",
    "selective": "SELECT o_orderkey, o_orderdate, l_quantity FROM customer JOIN orders ON o_custkey = c_custkey "
    "JOIN lineitem ON l_orderkey = o_orderkey WHERE c_custkey = 4711 ORDER BY ALL",
    "unselective": "SELECT o_orderpriority, count(*) AS n, sum(l_quantity) AS quantity FROM orders "
    "JOIN lineitem ON l_orderkey = o_orderkey GROUP BY o_orderpriority ORDER BY o_orderpriority",
}


def texts_for(distribution: str) -> dict[str, str]:
    """The queries of a distribution, by name."""
    with tempfile.TemporaryDirectory() as folder, tpc_connection(Path(folder)) as con:
        every = {str(number): text for number, text in queries(con, "tpch").items()}
    texts = every | _MORE if distribution == "one" else every
    if distribution not in ("mariadb", "one"):
        texts = {str(number): every[str(number)] for number in ACCIO}
    wanted = os.environ.get("TAURO_BENCH_QUERIES")
    return {number: texts[number] for number in wanted.split(",")} if wanted else texts


@contextlib.contextmanager
def _postgresql(paths: Mapping[str, Path]) -> Iterator[dict[str, Database]]:
    """Two databases of one server, each with all tables: a distribution says which are read where."""
    server = start_postgres()
    try:
        server.execute("CREATE DATABASE db1")
        load_postgres(server.uri("db1"), paths, keys=INDEXES)
        server.execute("CREATE DATABASE db2 TEMPLATE db1 STRATEGY FILE_COPY")
        yield {name: Database("postgresql", server.uri(name)) for name in ("db1", "db2")}
    finally:
        server.stop()


_LENGTHS: Final = {
    "part": {"p_name": 55, "p_mfgr": 25, "p_brand": 10, "p_type": 25, "p_container": 10, "p_comment": 23},
    "partsupp": {"ps_comment": 199},
    "supplier": {"s_name": 25, "s_address": 40, "s_phone": 15, "s_comment": 101},
}
"""Characters of each text, as TPC-H has them: DuckDB would make all of them TEXT."""


@contextlib.contextmanager
def _mariadb(paths: Mapping[str, Path]) -> Iterator[dict[str, Database]]:
    server = start_mariadb()
    try:
        server.execute("CREATE DATABASE tpch", "mysql")
        uri = server.uri("tpch")
        with duckdb.connect() as con:
            con.execute(f"INSTALL '{extension_file('mysql_scanner')}'")
            con.execute("LOAD mysql_scanner")
            con.execute(f"ATTACH '{uri}' AS maria (TYPE mysql)")
            for table in DISTRIBUTIONS["mariadb"]:
                con.execute(f"CREATE TABLE maria.{table} AS FROM '{paths[table]}'")
        for table in DISTRIBUTIONS["mariadb"]:
            texts = ", ".join(f"MODIFY {column} VARCHAR({length})" for column, length in _LENGTHS[table].items())
            server.execute(f"ALTER TABLE {table} {texts}", "tpch")
            for number, columns in enumerate(INDEXES[table]):
                server.execute(f"CREATE INDEX by_{number} ON {table} ({', '.join(columns)})", "tpch")
            server.execute(f"ANALYZE TABLE {table}", "tpch")
        yield {"maria": Database("mysql", uri)}
    finally:
        server.stop()


def measure(setting: Setting, texts: Mapping[str, str]) -> dict[str, Any]:
    """Figures over one distribution, on both wires."""
    kinds = {database.kind for database in setting.databases.values()}
    # Ibis needs a C compiler for MySQL's driver.
    who = tuple(name for name in WHO if name != "frames" or kinds == {"postgresql"})
    figures: dict[str, Any] = {}
    if "fast" in WIRES:
        figures["fast"] = race(setting, texts, REPEATS, who)
    if "slow" in WIRES:
        figures["slow"] = slow_race(setting, texts, SLOW, [name for name in who if name != "local"])
    return figures


def page(name: str, figures: Mapping[str, Any]) -> str:
    """The figures of one distribution as text."""
    lines: list[str] = []
    if "fast" in figures:
        fast = figures["fast"]
        names = list(next(iter(fast["queries"].values())))[:-1]
        seconds = {
            number: {who: min(query[who].get("seconds", [math.nan])) for who in names}
            for number, query in fast["queries"].items()
        }
        moved = {number: {who: fast["bytes"][who][number]["received"] + fast["bytes"][who][number]["sent"]
                          for who in fast["bytes"]} for number in seconds}  # fmt: skip
        lines += _table(f"{name}, loopback", seconds, moved, {n: q["same_answer"] for n, q in fast["queries"].items()})
        lines.append("peak MB: " + ", ".join(f"{who} {peak:.0f}" for who, peak in fast["peak_mb"].items()))
    if "slow" in figures:
        slow = figures["slow"]
        numbers = next(iter(slow.values()))
        seconds = {n: {who: slow[who][n].get("seconds", math.nan) for who in slow} for n in numbers}
        moved = {n: {who: slow[who][n]["received"] + slow[who][n]["sent"] for who in slow} for n in numbers}
        sums = {n: len({slow[who][n].get("checksum") for who in slow}) == 1 for n in numbers}
        lines += _table(f"{name}, slow wire", seconds, moved, sums)
    return "\n".join(lines)


_Numbers = Mapping[str, Mapping[str, float]]


def _table(title: str, seconds: _Numbers, moved: _Numbers, same: Mapping[str, bool]) -> list[str]:
    who = list(next(iter(seconds.values())))
    senders = list(next(iter(moved.values())))
    head = "".join(f"{name + ' ms':>11}" for name in who) + "".join(f"{name + ' MB':>11}" for name in senders)
    lines = [f"{title:22}{head}{'time':>8}{'bytes':>8}{'same':>6}  (time, bytes: ours / attach)"]
    for number, one in seconds.items():
        lines.append(_line(number, one, moved[number]) + f"{'yes' if same[number] else 'NO':>6}")
    whole = {name: sum(one[name] for one in seconds.values()) for name in who}
    lines.append(_line("total", whole, {name: sum(one[name] for one in moved.values()) for name in senders}))
    for rival in (name for name in who if name != "ours"):
        logs = [math.log(one["ours"] / one[rival]) for one in seconds.values()]
        lines.append(f"ours / {rival}, geometric mean: {math.exp(sum(logs) / len(logs)):.2f}")
    return lines


def _line(name: str, seconds: Mapping[str, float], moved: Mapping[str, float]) -> str:
    numbers = "".join(f"{one * 1e3:>11.0f}" for one in seconds.values())
    numbers += "".join(f"{one / 1e6:>11.2f}" for one in moved.values())
    if "attach" not in seconds:
        return f"{name:22}{numbers}"
    shares = (seconds["ours"] / seconds["attach"], moved["ours"] / max(moved["attach"], 1))
    return f"{name:22}{numbers}" + "".join(f"{share:>8.2f}" for share in shares)


def main(*names: str) -> None:
    """Measure the distributions that are named, or all, and add them to the figures."""
    paths = make_tpch(ROOT / "benchmarks" / ".data" / f"tpch-{SCALE:g}", SCALE)
    files = {name: str(path) for name, path in paths.items()}
    chosen = names or tuple(DISTRIBUTIONS)
    for server, kept in ((_postgresql, set(DISTRIBUTIONS) - {"mariadb"}), (_mariadb, {"mariadb"})):
        here = [name for name in chosen if name in kept]
        if not here:
            continue
        with server(paths) as databases:
            for name in here:
                places = DISTRIBUTIONS[name]
                used = {place: databases[place] for place in sorted(set(places.values()))}
                load = os.getloadavg()[0]
                figures = measure(Setting(files, used, places), texts_for(name))
                sys.stdout.write(page(name, figures) + "\n\n")
                sys.stdout.flush()
                _write(f"{name}: {', '.join(WHO)}; {', '.join(WIRES)}", {"setting": _setting(load), **figures})


def _setting(load: float) -> dict[str, Any]:
    return {
        "load_before": load,
        "scale_factor": SCALE,
        "repeats": REPEATS,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
    }


def _write(name: str, figures: dict[str, Any]) -> None:
    """Only whole runs at full scale are kept beside the code."""
    whole = SCALE == 1 and "TAURO_BENCH_QUERIES" not in os.environ
    folder = ROOT / "benchmarks" / ("results" if whole else ".data")
    folder.mkdir(exist_ok=True)
    file = folder / "federated.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(known | {name: figures}, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
