from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml

from tauro_nb import demo as module


@pytest.fixture(scope="session")
def folder(demo: Path) -> Path:
    return demo.parent


@pytest.fixture(scope="session")
def catalog(demo: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(demo.read_text())
    return loaded


def crm(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(folder / "crm.sqlite")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def warehouse(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(folder / "warehouse.duckdb", read_only=True) as connection:
        return connection.execute(statement).fetchall()


def test_sizes(folder: Path) -> None:
    assert crm(folder, "SELECT count(*) FROM customers") == [(2_000,)]
    assert crm(folder, "SELECT count(*) FROM tickets") == [(3_000,)]
    assert warehouse(folder, "SELECT count(*) FROM orders") == [(20_000,)]
    partitions = sorted((folder / "events").iterdir())
    assert [partitions[0].name, partitions[-1].name] == ["date=2024-05-01", "date=2024-05-30"]
    assert sum(pq.read_metadata(file).num_rows for file in (folder / "events").rglob("*.parquet")) == 30_000


@pytest.mark.parametrize(
    ("column", "form"),
    [
        ("email", r"[a-z]+\.[a-z]+\d+@example\.(com|org)"),
        ("phone", r"\+1-\d{3}-555-01\d\d"),
        ("ssn", r"9\d\d-[0-4]\d-\d{4}"),
    ],
)
def test_personal_data_belongs_to_nobody(folder: Path, column: str, form: str) -> None:
    values = [value for (value,) in crm(folder, f"SELECT {column} FROM customers") if value is not None]
    assert len(values) > 1_900
    assert [value for value in values if not re.fullmatch(form, value)] == []


def test_keys_join(folder: Path) -> None:
    customers = set(crm(folder, "SELECT customer_id FROM customers"))
    assert set(warehouse(folder, "SELECT DISTINCT customer_id FROM orders")) <= customers
    orphans = "SELECT count(*) FROM order_items LEFT JOIN orders USING (order_id) WHERE orders.order_id IS NULL"
    assert warehouse(folder, orphans) == [(0,)]
    wrong = """SELECT count(*) FROM orders JOIN (
        SELECT order_id, sum(quantity * unit_price) AS items FROM order_items GROUP BY ALL
    ) USING (order_id) WHERE total <> items"""
    assert warehouse(folder, wrong) == [(0,)]


READERS: tuple[Callable[[Path], object], ...] = (
    lambda folder: crm(folder, "SELECT * FROM customers ORDER BY 1"),
    lambda folder: crm(folder, "SELECT * FROM tickets ORDER BY 1"),
    lambda folder: warehouse(folder, "FROM orders ORDER BY ALL"),
    lambda folder: warehouse(folder, "FROM order_items ORDER BY ALL"),
    lambda folder: warehouse(folder, "FROM products ORDER BY ALL"),
    lambda folder: pq.read_table(folder / "events").to_pydict(),
    lambda folder: (folder / "reference" / "fx.csv").read_text(),
)


def test_two_builds_are_equal(folder: Path, tmp_path: Path) -> None:
    module.build(tmp_path)
    for read in READERS:
        assert read(tmp_path) == read(folder)


def test_a_second_build_changes_nothing(tmp_path: Path) -> None:
    catalog = module.build(tmp_path)
    catalog.write_text("mine")
    (tmp_path / "audit.jsonl").write_text("kept")
    assert module.build(tmp_path).read_text() == "mine"
    assert module.build(tmp_path, force=True).read_text() != "mine"
    assert (tmp_path / "audit.jsonl").read_text() == "kept"


def test_an_interrupted_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_write_events", interrupt)
    with pytest.raises(KeyboardInterrupt):
        module.build(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_policies_speak_of_columns_and_roles_that_exist(catalog: dict[str, Any]) -> None:
    roles = {role for principal in catalog["principals"].values() for role in principal["roles"]}
    for name, policy in catalog["security_policies"].items():
        table = catalog["virtual_tables"][name]
        assert set(policy["allowed_roles"]) <= roles
        assert set(policy["row_level_filters"]) <= roles
        assert set(policy.get("field_policies", {})) <= set(table.get("schema", {}))


def test_connections_are_all_used(catalog: dict[str, Any]) -> None:
    used = {table["connection"] for table in catalog["virtual_tables"].values() if "connection" in table}
    assert used == set(catalog["connections"])


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert module.main(["build", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"demo catalog: {tmp_path / 'catalog.yaml'}\n"
