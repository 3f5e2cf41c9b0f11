"""Tokens made in bulk: they open, they are found, and a column that counting would give away is refused."""

from __future__ import annotations

import datetime as dt
import decimal
import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import CipherError, UsageError
from tauro_nb.query.plan import whole
from tauro_nb.security import FewValues, Principal, SecurityEnforcer, encrypt_column

HR = Principal("hr", tenant="acme")
FIELD = {"encrypted_at": "source", "allowed_roles": ["hr"]}
CASES: list[tuple[str, list[Any], str | None]] = [
    ("VARCHAR", ["a", "b", None, ""], "x = 'b'"),
    ("BIGINT", [7, -8, None], "x = -8"),
    ("BIGINT", ["7", "08", None], "x = 8"),
    ("DATE", [dt.date(2024, 2, 29), None], "x = DATE '2024-02-29'"),
    ("DECIMAL(12,2)", [decimal.Decimal("1.5"), None], None),
    ("TIMESTAMP", [dt.datetime.fromisoformat("2024-02-29 12:30:01.000500"), None], None),
    ("BOOLEAN", [True, None], None),
]


def context(folder: Path, type: str, **field: Any) -> VirtualContext:
    table = {"path": str(folder / "t.parquet"), "schema": {"id": "BIGINT", "x": type}}
    policies = {"t": {"field_policies": {"x": {**FIELD, **field}}}}
    return VirtualContext({"virtual_tables": {"t": table}, "security_policies": policies})


@pytest.mark.parametrize("searchable", [None, "equality"])
@pytest.mark.parametrize(("type", "values", "condition"), CASES)
def test_what_is_written_is_read_and_found(
    tmp_path: Path, type: str, values: list[Any], condition: str | None, searchable: str | None
) -> None:
    with context(tmp_path, type, searchable=searchable) if searchable else context(tmp_path, type) as ctx:
        tokens = encrypt_column(ctx.layer.security, "t", "x", values, type=type, tenant="acme")
        assert [token is None for token in tokens.to_pylist()] == [value is None for value in values]
        pq.write_table(pa.table({"id": pa.array(range(len(values)), pa.int64()), "x": tokens}), tmp_path / "t.parquet")
        hr = ctx.as_principal(HR)
        found = [row["x"] for row in hr.query("SELECT x FROM t ORDER BY id").rows()]
        assert found == [int(value) if type == "BIGINT" and value is not None else value for value in values]
        if condition is not None:
            sql = f"SELECT count(*) AS n FROM t WHERE {condition}"
            assert hr.query(sql).rows() == [{"n": 1}]
            assert ("tnb1." in whole(hr.plan(sql)).residual.sql("duckdb")) is (searchable is not None)


def test_few_values_are_refused_unless_forced(tmp_path: Path) -> None:
    few = [f"clinic {number % 40}" for number in range(4000)]
    frequent = [f"name {number}" for number in range(20_000)] + ["unknown"] * 400
    fine = [f"name {number % 15_000}" for number in range(20_000)]
    with context(tmp_path, "VARCHAR", searchable="equality") as ctx:
        security = ctx.layer.security
        for values, words in (
            (few, "40 different values"),
            (frequent, r"20,001 different values, one of them in 2\.0 %"),
        ):
            with pytest.raises(UsageError, match=f"column `x` of `t` is searchable, and it has {words}"):
                encrypt_column(security, "t", "x", values)
            with pytest.warns(FewValues, match=words):
                assert len(encrypt_column(security, "t", "x", values, force=True)) == len(values)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(encrypt_column(security, "t", "x", fine)) == len(fine)
            assert len(encrypt_column(security, "t", "x", ["only", "once", None, None])) == 4
    with context(tmp_path, "VARCHAR") as ctx:
        assert len(encrypt_column(ctx.layer.security, "t", "x", few)) == len(few)


def test_what_cannot_be_encrypted_is_said(tmp_path: Path) -> None:
    with context(tmp_path, "BIGINT") as ctx:
        security: SecurityEnforcer = ctx.layer.security
        with pytest.raises(CipherError, match="a value for `x` of `t` is no BIGINT") as caught:
            encrypt_column(security, "t", "x", ["1", "secret"], type="BIGINT")
        assert "secret" not in str(caught.value)
        with pytest.raises(CipherError, match="no common type"):
            encrypt_column(security, "t", "x", [1, "secret"])
        for table, column in (("t", "id"), ("nothing", "x")):
            with pytest.raises(UsageError, match=f"`{column}` of `{table}` is not encrypted at its source"):
                encrypt_column(security, table, column, [1], type="BIGINT")
