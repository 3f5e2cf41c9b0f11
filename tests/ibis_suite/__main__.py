"""`python -m tests.ibis_suite`: run the suite against both backends and print the two counts."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import ibis

from tests.ibis_suite.data import BACKENDS, FOLDER, Prepared, prepare
from tests.ibis_suite.plugin import BACKEND, OUTCOMES
from tests.ibis_suite.report import compare, read
from tests.servers import start_postgres

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "ibis-testing"
SUITE = Path(ibis.__file__).parent / "backends" / "tests"


def run(backend: str, prepared: Prepared, outcomes: Path, targets: list[str], rest: list[str]) -> None:
    """Run the suite for one backend in a process of its own; outcomes go to a file."""
    environment = {
        # A run of its own, also below a process that shares tests with others.
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST_")},
        BACKEND: backend,
        FOLDER: str(prepared.folder),
        OUTCOMES: str(outcomes),
        "PYTHONPATH": str(ROOT),
    }
    outcomes.write_text("", encoding="utf-8")
    arguments = ["-c", str(ROOT / "tests/ibis_suite/pytest.ini"), "--rootdir", str(SUITE.parents[2])]
    command = [sys.executable, "-m", "pytest", "-p", "tests.ibis_suite.plugin", *arguments, "-m", "duckdb", *rest]
    paths = [str(SUITE / target) for target in targets] or [str(SUITE)]
    with outcomes.with_suffix(".log").open("w", encoding="utf-8") as log:
        subprocess.run([*command, *paths], env=environment, cwd=prepared.folder, stdout=log, stderr=log, check=False)


def main() -> int:
    """Read the command line, run, print; 0 when the share of reading tests is reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.ibis_suite", description=main.__doc__)
    parser.add_argument("targets", nargs="*", help="files of ibis/backends/tests, for example test_map.py")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TAURO_IBIS_DATA", DATA)))
    parser.add_argument("--keep", type=Path, help="folder for the outcomes and pytest's own logs")
    parser.add_argument("--only", choices=BACKENDS, help="run one backend, compare with kept outcomes")
    parser.add_argument("--at-least", type=float, default=98.0, help="smallest share of reading tests, in percent")
    options, rest = parser.parse_known_args()
    parquet = options.data / "parquet"
    if not parquet.is_dir():
        sys.stdout.write(f"skipped: no Parquet files of the Ibis test data in {parquet}; use --data\n")
        return 0
    with tempfile.TemporaryDirectory(prefix="tauro-ibis-") as scratch:
        kept = options.keep or Path(scratch) / "outcomes"
        kept.mkdir(parents=True, exist_ok=True)
        server = start_postgres()
        try:
            with_tpc = not options.targets or any("tpc" in target for target in options.targets)
            prepared = prepare(parquet, Path(scratch) / "suite", server.uri(), with_tpc=with_tpc)
            for backend in [options.only] if options.only else BACKENDS:
                run(backend, prepared, kept / f"{backend}.jsonl", options.targets, rest)
        finally:
            server.stop()
        comparison = compare(read(kept / "tauro.jsonl"), read(kept / "duckdb.jsonl"))
    sys.stdout.write(comparison.text() + "\n")
    return 0 if comparison.share >= options.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
