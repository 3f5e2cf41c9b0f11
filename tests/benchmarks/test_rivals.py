"""The queries that people write by hand ask the same as the SQL beside them, and answers are compared with care."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.by_hand import BY_HAND, Pandas
from benchmarks.contestants import Local
from benchmarks.federated import texts_for
from benchmarks.rivals import alike, page
from benchmarks.selective import FILTERS, SHAPES
from benchmarks.setting import Setting
from tests.tpc.data import make_tpch


# Ibis 12 sets an option of pandas that pandas 3 has deprecated.
@pytest.mark.filterwarnings("ignore:The 'future.infer_string' option:DeprecationWarning")
def test_pandas_answers_alike(tmp_path: Path) -> None:
    paths: dict[str, Path] = make_tpch(tmp_path, 0.01)
    files = Setting({name: str(path) for name, path in paths.items()}, {}, {})
    by_hand, local = Pandas(files), Local(files)
    texts = texts_for("v1") | {
        f"{name}, {shape}": text.format(condition)
        for name, condition in FILTERS.items()
        for shape, text in SHAPES.items()
    }
    for name in BY_HAND:
        # So few orders are not dear: an empty answer is one, too.
        assert alike(by_hand.run(name)[0], local.run(texts[name])[0]), name


@pytest.mark.parametrize(
    ("rows", "same"),
    [
        ([(1, 2.5), (2, None)], True),
        ([(2, None), (1, 2.5 + 1e-12)], True),
        ([(1, 2.5)], False),
        ([(1, 2.6), (2, None)], False),
        ([(1, None), (2, None)], False),
        ([(1, 2.5, 0), (2, None, 0)], False),
    ],
)
def test_alike(rows: list[tuple[float | None, ...]], same: bool) -> None:
    expected = pa.table({"key": [1, 2], "value": pa.array([Decimal("2.50"), None], pa.decimal128(15, 2))})
    given = pa.table([list(column) for column in zip(*rows, strict=True)], names=list("abc")[: len(rows[0])])
    assert alike(given, expected) is same


def test_page() -> None:
    figures = {
        "queries": {
            "ours": {"3": {"seconds": [0.4, 0.2], "bytes": 1_000_000}},
            "pandas": {"3": {"seconds": [2.0], "bytes": 2_500_000}},
            "xorq": {"3": {"seconds": [], "error": "cannot be installed: no network\nmore"}},
        },
        "same": {"3": {"ours": True, "pandas": False}},
        "peak_mb": {"ours": 100.0, "pandas": 300.0},
    }
    lines = page("v1", figures).splitlines()
    assert lines[1].split() == ["3", "200", "1.0", "1.00", "yes", "ours"]
    assert lines[2].split() == ["2000", "10.0", "2.50", "NO", "pandas"]
    assert lines[3].split(None, 4)[-1] == "network  xorq"
    assert lines[-1] == "pandas / ours, geometric mean of 1: 10.00"
