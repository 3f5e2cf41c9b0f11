"""Run the red team and print what each door did with each attack: `python -m tests.security.redteam`.

Arguments are handed on to pytest. The command fails when a test fails, and when a cell of the table is neither tried
nor said not to apply.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.security.redteam.scope import ATTACKS, COLUMNS, not_applicable

FOLDER = Path(__file__).parent
Cells = dict[tuple[int, str], set[str]]


class Table:
    """A pytest plugin that collects what tests noted with `reach`, and which of them failed."""

    def __init__(self) -> None:
        self.cells: Cells = {}
        self.failed: set[int] = set()
        self.tests: dict[int, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        numbers = [int(number) for number in re.findall(r"r(\d\d)_", report.nodeid.rpartition("::")[2].split("[")[0])]
        if report.when != "call":
            return
        for number in numbers:
            self.tests[number] = self.tests.get(number, 0) + 1
            if report.failed:
                self.failed.add(number)
            for name, value in report.user_properties:
                if name == "redteam":
                    door, outcome = value
                    self.cells.setdefault((number, door), set()).add(outcome)


def cell(cells: Cells, number: int, door: str) -> str:
    """`holds`, `refused`, `both`, `n/a`, or `?` for what nobody tried and nobody explained."""
    outcomes = cells.get((number, door), set())
    if len(outcomes) > 1:
        return "both"
    return next(iter(outcomes), "n/a" if not_applicable(number, door) else "?")


def lines(cells: Cells, tests: Mapping[int, int]) -> list[str]:
    """The table in Markdown, and the sums of its columns."""
    out = [f"| | attack | {' | '.join(COLUMNS)} | tests |", f"|---|---|{'---|' * (len(COLUMNS) + 1)}"]
    for number, title in ATTACKS.items():
        row = " | ".join(cell(cells, number, door) for door in COLUMNS)
        out.append(f"| R{number} | {title} | {row} | {tests.get(number, 0)} |")
    counts = []
    for door in COLUMNS:
        found = [cell(cells, number, door) for number in ATTACKS]
        counts.append(f"{sum(one in ('holds', 'refused', 'both') for one in found)}, n/a {found.count('n/a')}")
    return [*out, f"| | tried | {' | '.join(counts)} | {sum(tests.values())} |"]


def main(arguments: list[str]) -> int:
    """Run, print, judge."""
    os.environ["TAURO_REDTEAM"] = "all"
    table = Table()
    code = int(pytest.main(["-q", "--no-header", str(FOLDER), *arguments], plugins=[table]))
    open_cells = [f"R{n} {door}" for n in ATTACKS for door in COLUMNS if cell(table.cells, n, door) == "?"]
    said = lines(table.cells, table.tests)
    said += [f"failed: {', '.join(f'R{number}' for number in sorted(table.failed))}"] if table.failed else []
    said += [f"neither tried nor explained: {', '.join(open_cells)}"] if open_cells else []
    sys.stdout.write("\n".join(said) + "\n")
    return code or bool(open_cells)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
