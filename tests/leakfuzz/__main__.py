"""`python -m tests.leakfuzz`: the whole fuzz; prints what was tried and what leaked, and fails if anything did."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb

from tests.leakfuzz.backends import BACKENDS, Servers, prepare
from tests.leakfuzz.expressions import Screened, screen
from tests.leakfuzz.fuzz import FORMS, LIFTED, PLACEMENTS, Report, fuzz
from tests.mariadb import start_mariadb
from tests.servers import start_postgres


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the fuzz; the number of leaks is the exit status, at most 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.leakfuzz", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="part of the expressions, from 0 to 1")
    parser.add_argument("--seed", type=int, default=0, help="which part")
    names = [backend.name.lower() for backend in BACKENDS]
    parser.add_argument("--backend", action="append", type=str.lower, choices=names, help="only these")
    parser.add_argument("--rows", type=int, help="rows of each table, in place of each backend's own number")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    with duckdb.connect(config={"memory_limit": "2GB", "threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        screened = screen(connection, share=given.share, seed=given.seed)
    print(_screening(screened), flush=True)
    reports: list[Report] = []
    postgres, mariadb = start_postgres(), start_mariadb()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for backend in BACKENDS:
                if given.backend and backend.name.lower() not in given.backend:
                    continue
                with prepare(backend, Servers(Path(folder), postgres, mariadb), rows=given.rows) as prepared:
                    wanted: dict[tuple[bool, str], tuple[str, object]] = {}
                    for barrier in prepared.raw:
                        reports.append(fuzz(prepared, screened.throwing, barrier, wanted))
                        print(_line(reports[-1]), flush=True)
    finally:
        mariadb.stop()
        postgres.stop()
    leaks = sum(len(report.leaks) for report in reports)
    print(f"{leaks} leaks; {time.monotonic() - started:.0f} s")
    return int(leaks > 0)


def _screening(screened: Screened) -> str:
    head = (
        f"{screened.enumerated:,} expressions tried, {screened.bound:,} answer for visible values, "
        f"{len(screened.throwing):,} of them fail for a hidden one"
    )
    placements = ", ".join([*PLACEMENTS, *LIFTED])
    forms = f"policy forms: {', '.join(FORMS)}; placements: {placements}, and conditions by themselves"
    counts = f"{'throwing':>9}{'refused':>9}{'lifted':>9}{'statements':>12}{'CPU s':>8}{'leaks':>7}"
    columns = f"{'backend':<12}{'barrier':<11}{counts}"
    return f"{head}\n{forms}\n{columns}"


def _line(report: Report) -> str:
    counts = (
        f"{report.expressions:>9,}{report.refused:>9,}{report.lifted:>9,}{report.statements:>12,}{report.seconds:>8.0f}"
    )
    shown = [
        f"    {leak.form}, {leak.placement}: {leak.sql}\n      wanted {leak.want}\n      got    {leak.got}"
        for leak in report.leaks[:5]
    ]
    return "\n".join([f"{report.backend:<12}{report.barrier:<11}{counts}{len(report.leaks):>7,}", *shown])


if __name__ == "__main__":
    sys.exit(main())
