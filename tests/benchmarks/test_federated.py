"""The benchmark over several databases: every contestant is asked the same."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.contestants import Frames, Local, Ours
from benchmarks.federated import page, texts_for
from benchmarks.setting import DISTRIBUTIONS, Setting
from tests.tpc.data import TPCH_TABLES, make_tpch


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """All tables in files."""
    paths: dict[str, Path] = make_tpch(tmp_path_factory.mktemp("tpch"), 0.01)
    return Setting({name: str(path) for name, path in paths.items()}, {}, {})


def test_every_table_has_a_place() -> None:
    assert {name: len(places) for name, places in DISTRIBUTIONS.items()} == {
        "v0": 8, "v1": 8, "v2": 8, "files": 7, "mariadb": 3, "one": 8,
    }  # fmt: skip
    assert all(places.keys() <= set(TPCH_TABLES) for places in DISTRIBUTIONS.values())


def _rows(table: pa.Table) -> list[str]:
    """Rows in one order, by place: names that nobody gave differ."""
    return sorted(repr(tuple(row.values())) for row in table.to_pylist())


def test_contestants_answer_alike(files: Setting) -> None:
    frames, local, ours = Frames(files), Local(files), Ours(files)
    for text in texts_for("v0").values():
        expected = _rows(local.run(text)[0])
        assert _rows(frames.run(text)[0]) == expected
        assert _rows(ours.run(text)[0]) == expected
    ours.ctx.close()


def test_frames_hold_what_a_query_needs(files: Setting) -> None:
    frames = Frames(files)
    _, parts = frames.plan("SELECT o_orderdate FROM orders, customer WHERE o_custkey = c_custkey AND c_acctbal > 100")
    assert [part.sql() for part in parts.values()] == [
        "SELECT orders.o_custkey, orders.o_orderdate FROM orders AS orders",
        "SELECT customer.c_acctbal, customer.c_custkey FROM customer AS customer WHERE customer.c_acctbal > 100",
    ]


def test_the_setting_survives_its_way_to_another_process(files: Setting) -> None:
    assert Setting.of(files.plain()) == files


def test_page() -> None:
    def ran(*seconds: float) -> dict[str, list[float]]:
        return {"seconds": list(seconds)}

    moved = {"ours": {"3": {"received": 90, "sent": 10}}, "attach": {"3": {"received": 1900, "sent": 100}}}
    fast = {
        "queries": {"3": {"ours": ran(0.4, 0.2), "attach": ran(0.8), "local": ran(0.1), "same_answer": True}},
        "bytes": moved,
        "peak_mb": {"ours": 1.0},
    }
    lines = page("v0", {"fast": fast}).splitlines()
    assert lines[1].split() == ["3", "200", "800", "100", "0.00", "0.00", "0.25", "0.05", "yes"]
    assert lines[3:5] == ["ours / attach, geometric mean: 0.25", "ours / local, geometric mean: 2.00"]
