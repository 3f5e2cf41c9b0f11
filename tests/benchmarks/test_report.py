"""The report says what the figures say, also when a query failed or answered differently."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.report import page, summary


def _query(ours: dict[str, Any], attach: dict[str, Any], *, same: bool) -> dict[str, Any]:
    return {"ours": ours, "attach": attach, "local": _ran(0.1, 0.1), "same_answer": same}


def _ran(*seconds: float, plan_ms: float | None = None) -> dict[str, Any]:
    return {"seconds": list(seconds), "plan_ms": [plan_ms] * len(seconds), "rows": 1}


@pytest.fixture
def figures() -> dict[str, Any]:
    moved = {number: {"received": 2_500_000, "sent": 10, "connections": 0} for number in (1, 2, 3)}
    return {
        "name": "tpch-sf1",
        "queries": {
            1: _query(_ran(0.2, 0.4, plan_ms=8.0), _ran(0.1, 0.1), same=True),
            2: _query(_ran(0.1, 0.1, plan_ms=4.0), _ran(0.8, 0.8), same=False),
            3: _query({"error": "BindError: no"}, _ran(0.1), same=False),
        },
        "bytes": {"ours": moved, "attach": moved},
        "peak_mb": {"ours": 300.4, "attach": 200.0, "local": 100.0},
        "load_ext": {"bare_seconds": 0.4, "loaded_seconds": 0.5, "added_seconds_median": 0.1, "repeats": 7},
        "setting": {
            "load_before": 0.5,
            "scale_factor": 1.0,
            "repeats": 2,
            "cpus": 2,
            "python": "3.11.7",
            "duckdb": "1.5.5",
        },
    }


def test_summary(figures: dict[str, Any]) -> None:
    found = summary(figures)
    assert (found["queries"], found["completed"], found["same_answers"]) == (3, 2, 1)
    assert found["geomean_attach_min"] == pytest.approx((2 * 0.125) ** 0.5)
    assert found["geomean_attach_median"] == pytest.approx((3 * 0.125) ** 0.5)
    assert found["slower_than_attach"] == [1]
    assert (found["plan_ms_median"], found["plan_ms_max"]) == (6.0, 8.0)
    assert found["read_bytes"] == {"ours": 7_500_000, "attach": 7_500_000}


def test_page(figures: dict[str, Any]) -> None:
    text = page(figures)
    assert "| Q1 | 200.0 | 300.0 | 100.0 | 100.0 | 100.0 | 2.00 | 8.0 | 2.50 | 2.50 | yes |" in text
    assert "| Q3 | error | error |" in text
    assert "**no**" in text
    assert "adds 100 ms to a bare IPython" in text
