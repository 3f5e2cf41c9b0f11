"""What else a person could take: `python -m benchmarks.rivals [selective] [v1]`.

Ours beside DuckDB with the databases attached, local files, Ibis with pandas, and xorq, joining in its own engine or
in the database ("xorq there"). `selective` are the joins of `benchmarks.selective` over PostgreSQL; `v1` are TPC-H 3,
5, 10 and 14 over two PostgreSQL databases, as placed in `benchmarks.setting`. Each runs in a process of its own; they
take turns, and every byte is counted by a proxy that each of their databases has.

xorq is installed into an environment of its own, `.venv-xorq`, when this runs; where that fails, its lines say why.
TAURO_BENCH_WHO names contestants; TAURO_BENCH_SF and TAURO_BENCH_REPEATS as elsewhere. A query that took longer than
TAURO_BENCH_PATIENCE seconds (5) is not asked again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from benchmarks.asked import Process
from benchmarks.federated import SCALE, texts_for
from benchmarks.proxy import CountingProxy, Traffic
from benchmarks.selective import FILTERS, SHAPES
from benchmarks.setting import DISTRIBUTIONS, INDEXES, Database, Setting
from tests.servers import PostgresServer, start_postgres
from tests.tpc.data import make_tpch
from tests.tpc.loaders import load_postgres

__all__ = ["alike", "ask_all", "page"]

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "benchmarks" / ".data"
WHO = tuple(os.environ.get("TAURO_BENCH_WHO", "ours,attach,local,pandas,xorq,xorq there").split(","))
REPEATS = int(os.environ.get("TAURO_BENCH_REPEATS", "3"))
PATIENCE = float(os.environ.get("TAURO_BENCH_PATIENCE", "5"))
_XORQ: Final = ("xorq[duckdb,postgres]==0.4.9",)
_BY_HAND: Final = ("3", "5", "10", "14")


def xorq_python() -> str:
    """The Python of an environment with xorq, made if it is not there.

    Raises
    ------
    subprocess.CalledProcessError
        xorq cannot be installed.
    """
    folder = ROOT / ".venv-xorq"
    python = folder / "bin" / "python"
    probe = [python, "-c", "import xorq.api"]
    if not python.exists() or subprocess.run(probe, check=False, capture_output=True).returncode:
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *_XORQ], check=True, capture_output=True, text=True)
    return str(python)


@dataclass
class Rival:
    """A contestant that runs, behind its own proxies, and what was measured of it."""

    name: str
    process: Process | None
    proxies: Sequence[CountingProxy] = ()
    trouble: str = ""
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def by_hand(self) -> bool:
        """Whether it is asked by a query's name, not its text."""
        return self.name not in ("ours", "attach", "local")

    def ask(self, query: str, text: str, keep: Path) -> None:
        """Run a query once more, unless it took too long."""
        known = self.figures.setdefault(query, {"seconds": []})
        if "error" in known or any(taken > PATIENCE for taken in known["seconds"]):
            return
        if self.process is None:
            known["error"] = self.trouble
            return
        before = self._moved()
        answer = self.process.ask(run=query if self.by_hand else text, keep=str(keep))
        moved = self._moved() - before
        if "error" in answer:
            known["error"] = answer["error"]
            return
        known["seconds"].append(answer["seconds"])
        known |= {"rows": answer["rows"], "bytes": moved.received + moved.sent}

    def _moved(self) -> Traffic:
        return sum((proxy.traffic() for proxy in self.proxies), Traffic())


@contextlib.contextmanager
def _started(setting: Setting, names: Sequence[str]) -> Iterator[list[Rival]]:
    with contextlib.ExitStack() as stack:
        yield [_start(name, setting, stack) for name in names]


def _start(name: str, setting: Setting, stack: contextlib.ExitStack) -> Rival:
    command: Sequence[str] = ()
    if name.startswith("xorq"):
        try:
            command = [xorq_python(), "-m", "benchmarks.by_hand"]
        except subprocess.CalledProcessError as error:
            return Rival(name, None, trouble=f"cannot be installed: {str(error.stderr).strip()[-300:]}")
    seen, proxies = stack.enter_context(setting.through())
    process = Process(name, seen, command)
    stack.callback(process.close)
    return Rival(name, process, proxies)


def ask_all(setting: Setting, texts: Mapping[str, str], names: Sequence[str] = WHO) -> dict[str, Any]:
    """Figures of every query by contestant, and their peak memory.

    The first run of a query warms catalogs and plans; it counts only for who takes so long that it is the only one.
    """
    with _started(setting, names) as rivals, tempfile.TemporaryDirectory(prefix="tauro-bench-") as folder:
        kept = {rival.name: Path(folder) / f"{number}.arrow" for number, rival in enumerate(rivals)}
        same: dict[str, dict[str, bool]] = {}
        for query, text in texts.items():
            for turn in range(REPEATS + 1):
                for place in range(len(rivals)):
                    rival = rivals[(turn + place) % len(rivals)]
                    rival.ask(query, text, kept[rival.name])
            expected = _table(kept["local"])
            same[query] = {
                rival.name: alike(_table(kept[rival.name]), expected)
                for rival in rivals
                if "error" not in rival.figures[query]
            }
        peaks = {rival.name: rival.process.ask(peak=True)["peak_mb"] for rival in rivals if rival.process is not None}
        return {"queries": {rival.name: rival.figures for rival in rivals}, "same": same, "peak_mb": peaks}


def _table(file: Path) -> pa.Table:
    return pa.ipc.open_file(file).read_all()


def alike(table: pa.Table, expected: pa.Table) -> bool:
    """Whether two answers have the same rows in any order; numbers agree in ten digits, whatever their types are."""
    left, right = _rows(table), _rows(expected)
    return len(left) == len(right) and all(
        len(one) == len(other) and all(map(_same, one, other)) for one, other in zip(left, right, strict=True)
    )


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    columns = [
        [value if value is None else float(value) for value in column.to_pylist()]
        if pa.types.is_decimal(column.type) or pa.types.is_floating(column.type)
        else [str(value)[:10] if pa.types.is_temporal(column.type) else value for value in column.to_pylist()]
        for column in table.columns
    ]
    return sorted(zip(*columns, strict=True), key=lambda row: [(value is None, str(value)) for value in row])


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-10)
    return bool(one == other)


def page(title: str, figures: Mapping[str, Any]) -> str:
    """The figures of one case as text: the best run of each, in milliseconds, and the megabytes of the last."""
    lines = [f"{title:24}{'ms':>9}{'/ ours':>9}{'MB':>10}{'same':>6}"]
    for query in figures["same"]:
        ours = min(figures["queries"]["ours"][query]["seconds"], default=math.nan)
        for who, queries in figures["queries"].items():
            name = query if who == "ours" else ""
            lines.append(f"{name:24}{_line(queries[query], ours, figures['same'][query].get(who))}  {who}")
    lines.append("peak MB: " + ", ".join(f"{who} {peak:.0f}" for who, peak in figures["peak_mb"].items()))
    for who in figures["queries"]:
        ratios = [_best(figures, who, query) / _best(figures, "ours", query) for query in figures["same"]]
        known = [math.log(ratio) for ratio in ratios if not math.isnan(ratio)]
        if who != "ours" and known:
            mean = math.exp(sum(known) / len(known))
            lines.append(f"{who} / ours, geometric mean of {len(known)}: {mean:.2f}")
    return "\n".join(lines)


def _best(figures: Mapping[str, Any], who: str, query: str) -> float:
    return float(min(figures["queries"][who][query]["seconds"], default=math.nan))


def _line(one: Mapping[str, Any], ours: float, same: bool | None) -> str:
    if "error" in one:
        return f"  {one['error'].splitlines()[0][:120]}"
    best = min(one["seconds"])
    return f"{best * 1e3:>9.0f}{best / ours:>9.1f}{one['bytes'] / 1e6:>10.2f}{'yes' if same else 'NO':>6}"


def _selective(server: PostgresServer, paths: Mapping[str, Path]) -> tuple[Setting, dict[str, str]]:
    load_postgres(server.uri(), {"lineitem": paths["lineitem"]}, keys={"lineitem": [["l_orderkey"]]})
    texts = {f"{name}, {shape}": text.format(condition) for name, condition in FILTERS.items()
             for shape, text in SHAPES.items()}  # fmt: skip
    files = {name: str(paths[name]) for name in ("orders", "lineitem")}
    return Setting(files, {"pg": Database("postgresql", server.uri())}, {"lineitem": "pg"}), texts


def _v1(server: PostgresServer, paths: Mapping[str, Path]) -> tuple[Setting, dict[str, str]]:
    places = DISTRIBUTIONS["v1"]
    databases = {}
    for name in sorted(set(places.values())):
        server.execute(f"CREATE DATABASE {name}")
        here = {table: paths[table] for table, place in places.items() if place == name}
        load_postgres(server.uri(name), here, keys=INDEXES)
        databases[name] = Database("postgresql", server.uri(name))
    every = texts_for("v1")
    return Setting({name: str(path) for name, path in paths.items()}, databases, places), {
        number: every[number] for number in _BY_HAND
    }


CASES: Final = {"selective": _selective, "v1": _v1}


def main(*names: str) -> None:
    """Measure the cases that are named, or all."""
    paths = make_tpch(DATA / f"tpch-{SCALE:g}", SCALE)
    folder = ROOT / "benchmarks" / ("results" if SCALE == 1 else ".data")
    folder.mkdir(exist_ok=True)
    file = folder / "rivals.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for name in names or CASES:
        load = os.getloadavg()[0]
        server = start_postgres()
        try:
            figures = ask_all(*CASES[name](server, paths))
        finally:
            server.stop()
        sys.stdout.write(page(name, figures) + "\n\n")
        sys.stdout.flush()
        results[name] = {"scale": SCALE, "repeats": REPEATS, "load_before": load, "xorq": _XORQ[0], **figures}
    file.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
