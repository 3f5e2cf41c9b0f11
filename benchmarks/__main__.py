"""`python -m benchmarks`: make the data, start PostgreSQL, run the race, write the page and the raw figures."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.load_ext import measure_load_ext
from benchmarks.race import race
from benchmarks.report import page, summary
from benchmarks.setting import IN_POSTGRES, INDEXES, Database, Setting
from tests.servers import start_postgres
from tests.tpc.data import make_tpch, queries, tpc_connection
from tests.tpc.loaders import load_postgres

ROOT = Path(__file__).resolve().parent.parent
FULL_SCALE = 1.0


def main() -> None:
    """Run everything; only a run at full scale replaces the committed page."""
    scale = float(os.environ.get("TAURO_BENCH_SF", str(FULL_SCALE)))
    repeats = int(os.environ.get("TAURO_BENCH_REPEATS", "5"))
    load_before = os.getloadavg()[0]
    loading = measure_load_ext(max(repeats, 7))
    paths = make_tpch(ROOT / "benchmarks" / ".data" / f"tpch-{scale:g}", scale)
    server = start_postgres()
    try:
        load_postgres(server.uri(), {name: paths[name] for name in IN_POSTGRES}, keys=INDEXES)
        files = {name: str(path) for name, path in paths.items()}
        databases = {"pg": Database("postgresql", server.uri())}
        figures = race(Setting(files, databases, dict.fromkeys(IN_POSTGRES, "pg")), _texts(), repeats)
    finally:
        server.stop()
    figures["load_ext"] = loading
    figures["setting"] = _setting(scale, repeats, load_before)
    figures["name"] = f"tpch-sf{scale:g}"
    figures["summary"] = summary(figures)
    _write(figures, scale)
    print(page(figures))


def _texts() -> dict[int, str]:
    """All 22 queries, or those that TAURO_BENCH_QUERIES names ("3,5,9")."""
    with tempfile.TemporaryDirectory() as folder, tpc_connection(Path(folder)) as con:
        texts = queries(con, "tpch")
    wanted = os.environ.get("TAURO_BENCH_QUERIES")
    return {number: texts[number] for number in map(int, wanted.split(","))} if wanted else texts


def _setting(scale: float, repeats: int, load_before: float) -> dict[str, Any]:
    return {
        "load_before": load_before,
        "scale_factor": scale,
        "repeats": repeats,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
    }


def _write(figures: dict[str, Any], scale: float) -> None:
    results = ROOT / "benchmarks" / "results"
    if scale != FULL_SCALE:
        results = ROOT / "benchmarks" / ".data"
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{figures['name']}.json").write_text(json.dumps(figures, indent=1) + "\n")
    if scale == FULL_SCALE:
        (ROOT / "docs").mkdir(exist_ok=True)
        (ROOT / "docs" / "benchmarks.md").write_text(page(figures))


if __name__ == "__main__":
    main()
