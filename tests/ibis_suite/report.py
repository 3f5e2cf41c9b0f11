"""Two lists of outcomes side by side."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Comparison", "compare", "read"]

_KINDS = ("passed", "failed", "skipped", "xfailed", "xpassed")


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Outcomes by test; a test that failed in any phase failed."""
    out: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        known = out.get(item["test"])
        if known is None or known["outcome"] != "failed":
            out[item["test"]] = item
    return out


def _cause(item: Mapping[str, Any]) -> str:
    """Why a test failed, coarse enough to count: the exception and its words without names and values."""
    error = item.get("error") or {"kinds": ["?"], "text": ""}
    words = re.sub(r"[`'\"][^`'\"]*[`'\"]|\d+", "…", error["text"])
    return f"{error['kinds'][0]}: {words[:90]}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `python -m tests.ibis_suite` prints.

    `reading` are the tests that DuckDB passes without writing; `not_reading` are the other tests it passes,
    counted by what they do.
    """

    ours: Mapping[str, Mapping[str, Any]]
    theirs: Mapping[str, Mapping[str, Any]]
    reading: tuple[str, ...]
    not_reading: Mapping[str, int]

    def outcome(self, test: str) -> str:
        """Ours of a test."""
        return str(self.ours[test]["outcome"]) if test in self.ours else "missing"

    @property
    def passed(self) -> int:
        """Reading tests that pass."""
        return sum(self.outcome(test) == "passed" for test in self.reading)

    @property
    def share(self) -> float:
        """The same in percent."""
        return 100 * self.passed / len(self.reading) if self.reading else 0.0

    def text(self) -> str:
        """Counts, share, and the causes of what is missing."""
        lines = [f"{'':8}" + "".join(f"{kind:>9}" for kind in _KINDS)]
        for name, outcomes in (("tauro", self.ours), ("duckdb", self.theirs)):
            counts = Counter(item["outcome"] for item in outcomes.values())
            lines.append(f"{name:8}" + "".join(f"{counts[kind]:>9,}" for kind in _KINDS))
        lines += ["", f"tests that read and that DuckDB passes: {len(self.reading):,}"]
        lines.append(f"  of these tauro passes: {self.passed:,} ({self.share:.2f} %)")
        lines += ["", "tests that DuckDB passes and that do more than read (not counted above):"]
        lines += [f"  {count:>5}  {cause}" for cause, count in sorted(self.not_reading.items(), key=lambda kv: -kv[1])]
        missing = [test for test in self.reading if self.outcome(test) != "passed"]
        causes = Counter(_cause(self.ours.get(test, {})) for test in missing)
        lines += ["", "reading tests that tauro does not pass, by cause:"]
        lines += [f"  {count:>5}  {cause}" for cause, count in causes.most_common()]
        lines += ["", "the same, one by one:"]
        lines += [f"  {self.outcome(test):8} {test.removeprefix('ibis/backends/tests/')}" for test in missing]
        return "\n".join(lines)


def compare(ours: Mapping[str, Mapping[str, Any]], theirs: Mapping[str, Mapping[str, Any]]) -> Comparison:
    """Judge ours by what theirs does; what a test does beyond reading was seen while theirs ran."""
    passed = {test: item for test, item in theirs.items() if item["outcome"] == "passed"}
    reading = tuple(test for test, item in passed.items() if not item.get("writes"))
    not_reading = Counter(", ".join(item["writes"]) for item in passed.values() if item.get("writes"))
    return Comparison(ours, theirs, reading, not_reading)
