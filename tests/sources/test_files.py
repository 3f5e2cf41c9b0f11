"""CSV, JSON and Parquet: globs, hive partitions, declared types."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tauro_nb.errors import ExecutionError, SchemaMismatch, SourceUnavailable, UsageError
from tests.sources.conftest import Open


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Two countries of two days each, hive-partitioned."""
    for country in ("ec", "pe"):
        for day in ("2024-01-01", "2024-01-02"):
            folder = tmp_path / "events" / f"country={country}" / f"day={day}"
            folder.mkdir(parents=True)
            pq.write_table(pa.table({"id": [1, 2], "value": [0.5, 1.5]}), folder / "part-0.parquet")
    return tmp_path / "events"


def one(opened: Open, **table: Any) -> Any:
    return opened({"virtual_tables": {"t": table}})


class TestHive:
    @pytest.mark.parametrize("path", ["", "/", "/**/*.parquet", "/country=*/*/*.parquet"])
    def test_folder_and_globs_give_all_rows_with_partition_columns(self, opened: Open, events: Path, path: str) -> None:
        ctx = one(opened, path=f"{events}{path}", partitions=["country", "day"])
        assert list(ctx.visible_schema("t")) == ["id", "value", "country", "day"]
        rows = ctx.query("SELECT country, count(*) AS n FROM t GROUP BY ALL ORDER BY country").rows()
        assert rows == [{"country": "ec", "n": 4}, {"country": "pe", "n": 4}]

    def test_a_glob_for_some_partitions(self, opened: Open, events: Path) -> None:
        ctx = one(opened, path=f"{events}/country=ec/*/*.parquet", partitions=["country", "day"])
        assert ctx.query("SELECT DISTINCT country FROM t").rows() == [{"country": "ec"}]

    def test_files_of_other_partitions_are_not_opened(self, opened: Open, events: Path) -> None:
        """Pruning is proven by what is not read: the other country's files are no Parquet any more."""
        ctx = one(opened, path=str(events), partitions=["country", "day"])
        ctx.query("SELECT count(*) FROM t").rows()
        for broken in events.glob("country=pe/*/*.parquet"):
            broken.write_bytes(b"not a Parquet file")
        ctx2 = one(opened, path=str(events), partitions=["country", "day"])
        assert ctx2.query("SELECT count(*) AS n FROM t WHERE country = 'ec' AND day = DATE '2024-01-02'").rows() == [
            {"n": 2}
        ]

    def test_declared_partition_types(self, opened: Open, events: Path) -> None:
        schema = {"id": "BIGINT", "day": "DATE", "country": "VARCHAR"}
        ctx = one(opened, path=str(events), partitions=["country", "day"], schema=schema)
        assert ctx.query("SELECT max(day) - min(day) AS d FROM t").rows() == [{"d": 1}]


class TestDeclaredTypes:
    def test_csv_is_read_with_declared_types(self, opened: Open, tmp_path: Path) -> None:
        """Sniffed first, 1.10 would be 1.1 and 0.1000000000000000055 would be 0.1."""
        (tmp_path / "t.csv").write_text("code,amount,note\n1.10,0.1000000000000000055,a\n2.00,2,b\n")
        schema = {"code": "VARCHAR", "amount": "DECIMAL(20,19)"}
        ctx = one(opened, path=str(tmp_path / "t.csv"), schema=schema)
        assert ctx.query("SELECT * FROM t ORDER BY code").rows()[0] == {
            "code": "1.10",
            "amount": Decimal("0.1000000000000000055"),
        }
        assert one(opened, path=str(tmp_path / "t.csv")).query("SELECT code FROM t").rows()[0] == {"code": 1.1}

    def test_a_sniffed_mismatch_does_not_fail(self, opened: Open, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("id,x\n1,2\n2,3\n")
        ctx = one(opened, path=str(tmp_path / "t.csv"), schema={"x": "DOUBLE", "id": "VARCHAR"})
        assert ctx.query("SELECT * FROM t").rows()[0] == {"x": 2.0, "id": "1"}

    def test_json_is_read_with_declared_types(self, opened: Open, tmp_path: Path) -> None:
        rows = [{"id": 1, "amount": 0.25, "when": "2024-01-01", "tags": ["a"]}, {"id": 2}]
        (tmp_path / "t.json").write_text("\n".join(json.dumps(row) for row in rows))
        schema = {"id": "VARCHAR", "amount": "DECIMAL(5,2)", "when": "TIMESTAMP", "tags": "VARCHAR[]"}
        result = one(opened, path=str(tmp_path / "t.json"), schema=schema).query("SELECT * FROM t ORDER BY id").rows()
        assert (result[0]["id"], result[0]["amount"], result[0]["tags"]) == ("1", Decimal("0.25"), ["a"])
        assert result[1] == {"id": "2", "amount": None, "when": None, "tags": None}

    def test_a_value_that_does_not_fit_is_an_error_without_the_value(self, opened: Open, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("id\n1\nsecret-value\n")
        ctx = one(opened, path=str(tmp_path / "t.csv"), schema={"id": "BIGINT"})
        with pytest.raises(ExecutionError) as failed:
            ctx.query("SELECT sum(id) FROM t").rows()
        assert "secret" not in str(failed.value)
        assert str(tmp_path) not in str(failed.value)

    @pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
    def test_a_missing_column_is_named_with_its_nearest(self, opened: Open, tmp_path: Path, kind: str) -> None:
        table = pa.table({"email": ["a"], "id": [1]})
        path = tmp_path / f"t.{kind}"
        texts = {"csv": "email,id\na,1\n", "json": '{"email": "a", "id": 1}'}
        pq.write_table(table, path) if kind == "parquet" else path.write_text(texts[kind])
        with pytest.raises(SchemaMismatch, match=r"t\.emial is declared.*Did you mean `email`\?"):
            one(opened, path=str(path), schema={"emial": "VARCHAR"}).query("SELECT * FROM t")

    def test_parquet_mismatch_names_both_types(self, opened: Open, tmp_path: Path) -> None:
        pq.write_table(pa.table({"id": ["a"]}), tmp_path / "t.parquet")
        with pytest.raises(SchemaMismatch, match=r"t\.id is declared as BIGINT, the source has VARCHAR"):
            one(opened, path=str(tmp_path / "t.parquet"), schema={"id": "BIGINT"}).query("SELECT * FROM t")

    def test_quotes_in_names_are_only_names(self, opened: Open, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text('it\'s,"a ""b"""\n1,2\n')
        ctx = one(opened, path=str(tmp_path / "t.csv"), schema={"it's": "VARCHAR", 'a "b"': "DOUBLE"})
        assert ctx.query("SELECT * FROM t").rows() == [{"it's": "1", 'a "b"': 2.0}]


class TestOptions:
    def test_csv_options(self, opened: Open, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("1;2,5;-\n2;NA;x\n")
        options = {"delim": ";", "header": False, "nullstr": "NA", "decimal_separator": ","}
        ctx = one(opened, path=str(tmp_path / "t.csv"), options=options)
        assert ctx.query("SELECT column1 AS v FROM t ORDER BY column0").rows() == [{"v": 2.5}, {"v": None}]

    def test_json_array_with_records(self, opened: Open, tmp_path: Path) -> None:
        (tmp_path / "t.json").write_text('[{"a": 1}, {"a": 2}]')
        ctx = one(opened, path=str(tmp_path / "t.json"), options={"format": "array"})
        assert ctx.query("SELECT sum(a) AS s FROM t").rows() == [{"s": 3}]

    def test_an_unknown_option_is_named(self, opened: Open, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("a\n1\n")
        with pytest.raises(UsageError, match=r"unknown option `delimm`\. Did you mean `delim`\?"):
            one(opened, path=str(tmp_path / "t.csv"), options={"delimm": ";"}).query("SELECT * FROM t")


@pytest.mark.parametrize("times", [None, (1e9, 1e9)], ids=["at once", "with the time of the one before"])
def test_a_file_that_is_written_anew_is_read_anew(
    opened: Open, tmp_path: Path, times: tuple[float, float] | None
) -> None:
    path = tmp_path / "numbers.parquet"

    def write(sign: int) -> None:
        pq.write_table(pa.table({"a": [sign * number for number in range(1, 1001)]}), path)
        if times is not None:
            os.utime(path, times)

    write(1)
    ctx = one(opened, path=str(path))
    for sign in (1, -1) * 10:
        write(sign)
        # By the bounds in the footer of the file before, no row would be looked at.
        text = f"SELECT count(*) AS n FROM t WHERE a {'>' if sign > 0 else '<'} 0"
        assert ctx.query(text).rows() == [{"n": 1000}]


def test_no_file_is_no_source(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="no file matches") as failed:
        one(opened, path=str(tmp_path / "nothing" / "*.parquet")).query("SELECT * FROM t")
    assert str(tmp_path) not in str(failed.value)
