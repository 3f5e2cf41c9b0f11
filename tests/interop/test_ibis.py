from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from ibis.common import exceptions as exc
from sqlglot import exp

from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied, BindError, TauroError, UnknownTable, UnsupportedStatement, UsageError
from tauro_nb.interop.ibis import Backend
from tests.ibis_suite.report import compare

# Ibis 12 asks pandas 3.1 for an option that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:The 'future.infer_string' option:DeprecationWarning")

ROWS = [(1, "Ana", "Sales", 1, 10.5), (2, "Bo", "Legal", 0, 20.0), (3, None, "Sales", None, None)]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("ibis")
    with sqlite3.connect(folder / "crm.sqlite") as crm:
        crm.execute("CREATE TABLE people (id INTEGER, name TEXT, dept TEXT, active BOOLEAN, score DOUBLE)")
        crm.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", ROWS)
    crm.close()
    orders = (
        "SELECT i AS id, i % 4 AS person_id, DATE '2024-01-01' + i::INT AS day, [i, i + 1] AS pair FROM range(30) t(i)"
    )
    duckdb.sql(f"COPY ({orders}) TO '{folder / 'orders.parquet'}' (FORMAT parquet)")
    return {
        "connections": {"crm": {"type": "sqlite", "path": str(folder / "crm.sqlite")}},
        "virtual_tables": {
            "crm.people": {"connector_type": "sqlite", "connection": "crm", "table": "people"},
            "orders": {"connector_type": "parquet", "path": str(folder / "orders.parquet")},
        },
        "security_policies": {
            "crm.people": {
                "row_level_filters": {"admin": "", "clerk": "dept = 'Sales'"},
                "field_policies": {"score": {"access_level": "restricted", "allowed_roles": ["admin"]}},
            }
        },
    }


@pytest.fixture
def con(config: dict[str, Any]) -> Iterator[Backend]:
    with VirtualContext(config, "admin") as ctx:
        yield ctx.ibis()


@pytest.fixture
def orders(con: Backend) -> ir.Table:
    return con.table("orders")


def test_the_entry_point_connects_to_a_file(config: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(config))
    con = ibis.tauro.connect(path, principal="clerk")
    assert isinstance(con, Backend)
    assert con.name == "tauro"
    assert con.table("people", database="crm").count().execute() == 2
    con.disconnect()


def test_a_principal_gets_their_rows_and_columns(config: dict[str, Any]) -> None:
    with VirtualContext(config, "clerk") as ctx:
        people = ctx.table("crm.people")
        assert people.columns == ("id", "name", "dept", "active")
        assert people.id.execute().tolist() == [1, 3]
        assert ctx.as_principal("admin").table("crm.people").count().execute() == 3
        with pytest.raises(AccessDenied):
            ctx.sql("SELECT score FROM crm.people")


def test_catalogs_databases_and_tables(con: Backend) -> None:
    assert con.current_catalog in con.list_catalogs()
    assert con.list_databases() == ["crm", "main", "tauro"]
    assert con.list_tables() == ["crm.people", "orders", "tauro.audit"]
    assert con.list_tables(database="tauro") == ["audit"]
    assert con.table("audit", database="tauro").schema() == con.table("tauro.audit").schema()
    assert con.list_tables(database="crm") == ["people"]
    assert con.list_tables(database="main") == ["orders"]
    assert con.list_tables(database=(con.current_catalog, "main")) == ["orders"]
    assert con.list_tables(like="ord") == ["orders"]
    assert con.table("orders", database=(con.current_catalog, con.current_database)).count().execute() == 30


def test_an_unknown_table_is_the_error_of_both_worlds(con: Backend) -> None:
    with pytest.raises(exc.TableNotFound, match=r"orders") as caught:
        con.table("ordrs")
    assert isinstance(caught.value, UnknownTable)


def test_rowid_is_no_column_of_a_virtual_table(orders: ir.Table) -> None:
    with pytest.raises(BindError, match="rowid"):
        orders.rowid().execute()


def test_the_order_inside_an_aggregate_is_a_use_of_its_column(orders: ir.Table) -> None:
    # Ibis builds these sort keys as a tuple, which no walk of a sqlglot tree enters.
    narrow = orders.select("id", "day")
    assert narrow.id.first(order_by=ibis.desc("day")).execute() == 29
    assert narrow.id.collect(order_by=ibis.desc("day")).execute()[:2] == [29, 28]


def test_what_a_tree_holds_in_a_tuple_is_resolved_and_counted(con: Backend) -> None:
    key = exp.select("max(id)").from_("crm.people").subquery()
    sorted_id = exp.Order(this=exp.column("id"), expressions=(exp.Ordered(this=key),))
    tree = exp.select(exp.alias_(exp.First(this=sorted_id), "top")).from_("orders")
    assert con.ctx.plan_parts(tree).tables == ("crm.people", "orders")
    assert isinstance(sorted_id.args["expressions"], tuple), "the caller's tree stays as it was"


def test_truth_computed_at_sqlite_arrives_as_truth(con: Backend) -> None:
    people = con.table("crm.people")
    found = people.select("id", known=people.id.isin(people.filter(people.id > 1).id)).order_by("id").execute()
    assert found.known.tolist() == [False, True, True]


def test_approximate_quantiles_of_several_points(con: Backend) -> None:
    x = ibis.memtable({"x": [0, 25, 25, 50, 75, 75, 100]}).x
    assert con.execute(x.approx_quantile([0.25, 0.75], where=x <= 75)) == pytest.approx([25, 75], abs=15)


def test_memtables_join_with_virtual_tables(con: Backend, orders: ir.Table) -> None:
    wanted = ibis.memtable({"id": [3, 5, 99]})
    assert con.execute(orders.semi_join(wanted, "id").id.sum()) == 8
    assert wanted.op().name in con.list_tables()
    assert con.sql(f"SELECT max(id) AS top FROM {wanted.op().name}").execute().top[0] == 99


def test_a_memtable_does_not_shadow_a_virtual_table(con: Backend) -> None:
    mine = ibis.memtable({"id": [7]}).op().copy(name="orders").to_expr()
    assert con.execute(mine).id.tolist() == [7]
    assert con.sql("SELECT count(*) AS n FROM orders").execute().n[0] == 30
    assert con.table("orders").count().execute() == 30


def test_sql_in_all_its_places(con: Backend, orders: ir.Table) -> None:
    assert con.sql("SELECT id FROM orders").filter(ibis._.id > 27).count().execute() == 2
    assert orders.alias("o").sql("SELECT id * 2 AS twice FROM o").twice.max().execute() == 58
    assert con.sql("SELECT `id` FROM orders", dialect="mysql").count().execute() == 30
    minimum = ibis.param("int64")
    assert orders.filter(orders.id >= minimum).count().execute(params={minimum: 28}) == 2


def test_a_cached_expression_keeps_its_rows_until_released(con: Backend, orders: ir.Table) -> None:
    with orders.filter(orders.id > 25).cache() as cached:
        name = cached.op().name
        assert cached.id.sum().execute() == 26 + 27 + 28 + 29
        assert cached.sql(f"SELECT count(*) AS n FROM {name}").execute().n[0] == 4
        assert name in con.list_tables()
    assert name not in con.list_tables()
    with pytest.raises(UnknownTable):
        con.sql(f"SELECT * FROM {name}")


def test_batches_have_the_schema_and_at_most_the_size_asked_for(orders: ir.Table) -> None:
    with orders.to_pyarrow_batches(chunk_size=7) as reader:
        batches = list(reader)
    assert max(batch.num_rows for batch in batches) <= 7
    assert sum(batch.num_rows for batch in batches) == 30
    assert batches[0].schema.names == list(orders.columns)


def test_exports_hold_what_the_principal_sees(config: dict[str, Any], tmp_path: Path) -> None:
    with VirtualContext(config, "clerk") as ctx:
        people = ctx.table("crm.people").order_by("id")
        people.to_parquet(tmp_path / "p.parquet")
        people.to_csv(tmp_path / "p.csv")
        people.to_json(tmp_path / "p.json")
        people.to_parquet(tmp_path / "parts", partition_by="id")
        people.limit(0).to_json(tmp_path / "none.json")
        assert people.to_polars().shape == (2, 4)
    assert pq.read_table(tmp_path / "p.parquet").column("id").to_pylist() == [1, 3]
    assert pyarrow.csv.read_csv(tmp_path / "p.csv").column_names == ["id", "name", "dept", "active"]
    assert [row["name"] for row in json.loads((tmp_path / "p.json").read_text())] == ["Ana", None]
    assert sorted(folder.name for folder in (tmp_path / "parts").iterdir()) == ["id=1", "id=3"]
    assert json.loads((tmp_path / "none.json").read_text()) == []


REFUSED = {
    "create_table": lambda con: con.create_table("t", ibis.memtable({"a": [1]})),
    "create_view": lambda con: con.create_view("v", con.table("orders")),
    "insert": lambda con: con.insert("orders", con.table("orders")),
    "upsert": lambda con: con.upsert("orders", con.table("orders"), on="id"),
    "drop_table": lambda con: con.drop_table("orders"),
    "drop_view": lambda con: con.drop_view("orders"),
    "truncate_table": lambda con: con.truncate_table("orders"),
    "rename_table": lambda con: con.rename_table("orders", "o"),
    "raw_sql": lambda con: con.raw_sql("SELECT 1"),
    "read_csv": lambda con: con.read_csv("/etc/passwd"),
    "read_parquet": lambda con: con.read_parquet("x.parquet"),
    "read_json": lambda con: con.read_json("x.json"),
    "read_delta": lambda con: con.read_delta("x"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_is_not_a_query_is_refused_in_words_ibis_knows(con: Backend, name: str) -> None:
    with pytest.raises(UnsupportedStatement, match=name) as caught:
        REFUSED[name](con)
    assert isinstance(caught.value, (exc.UnsupportedOperationError, NotImplementedError))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT getenv('HOME')",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM information_schema.tables",
        "COPY orders TO 'x'",
    ],
)
def test_sql_cannot_leave_the_catalog(con: Backend, orders: ir.Table, sql: str) -> None:
    with pytest.raises(TauroError):
        con.sql(sql)
    given = con.sql("SELECT 1 AS a", schema={"a": "int64"})
    assert given.execute().a[0] == 1
    with pytest.raises((TauroError, exc.IbisError, ValueError)):
        con.sql(sql, schema={"a": "string"}).execute()
    with pytest.raises((TauroError, exc.IbisError, ValueError)):
        orders.alias("o").sql(sql)


def test_tables_and_sql_of_other_backends_are_refused(con: Backend, orders: ir.Table) -> None:
    other = ibis.duckdb.connect()
    other.raw_sql("CREATE TABLE orders (id BIGINT)")
    for foreign in (other.table("orders"), other.sql("SELECT * FROM orders")):
        with pytest.raises(UsageError, match="another Ibis backend"):
            con.execute(foreign)
        with pytest.raises((UsageError, exc.IbisError)):
            orders.join(foreign, "id").execute()


def test_two_contexts_are_two_backends_however_alike(config: dict[str, Any], orders: ir.Table) -> None:
    with VirtualContext(config, "admin") as other:
        assert other.table("orders").count().execute() == 30
        with pytest.raises(exc.IbisError, match=r"[Mm]ultiple backends"):
            orders.join(other.table("orders"), "id").execute()
        assert other.ibis() == other.ibis()
        assert other.ibis() != other.as_principal("admin", roles=["clerk"]).ibis()


def test_python_functions_are_refused(con: Backend, orders: ir.Table) -> None:
    @ibis.udf.scalar.python  # type: ignore[untyped-decorator] # Ibis publishes it without types
    def double(x: int) -> int:
        return 2 * x

    with pytest.raises(UnsupportedStatement, match="Python function"):
        con.execute(double(orders.id))


def test_functions_off_the_list_are_refused_also_as_builtins(con: Backend, orders: ir.Table) -> None:
    @ibis.udf.scalar.builtin  # type: ignore[untyped-decorator] # Ibis publishes it without types
    def getenv(x: str) -> str: ...  # type: ignore[empty-body]

    with pytest.raises(BindError, match="getenv"):
        con.execute(orders.select(a=getenv("HOME")))


THEIRS: dict[str, dict[str, Any]] = {
    "reads": {"outcome": "passed", "writes": []},
    "reads too": {"outcome": "passed", "writes": []},
    "writes": {"outcome": "passed", "writes": ["creates or changes tables"]},
    "fails there": {"outcome": "failed", "writes": []},
}


def test_the_suite_judges_tests_that_read_and_pass_there() -> None:
    ours = {name: {"outcome": "passed"} for name in THEIRS} | {"writes": {"outcome": "failed"}}
    assert compare(ours, THEIRS).share == 100
    assert "creates or changes tables" in compare(ours, THEIRS).text()


def test_a_test_of_the_suite_that_did_not_run_here_counts_against_us() -> None:
    comparison = compare({"reads": {"outcome": "passed"}}, THEIRS)
    assert comparison.share == 50
    assert "missing  reads too" in comparison.text()


def test_a_suite_without_tests_is_no_success() -> None:
    assert compare({}, {}).share == 0


@pytest.mark.slow
@pytest.mark.postgres
def test_the_suite_runs_on_tables_of_the_right_shape(tmp_path: Path, root: Path) -> None:
    shape = (
        "import sys; from ibis.backends.conftest import TEST_TABLES as T; import pyarrow as pa, pyarrow.parquet as pq\n"
    )
    shape += "for n, s in T.items(): pq.write_table(s.to_pyarrow().empty_table(), f'{sys.argv[1]}/{n}.parquet')"
    (tmp_path / "parquet").mkdir()
    subprocess.run([sys.executable, "-c", shape, tmp_path / "parquet"], check=True)
    command = [sys.executable, "-m", "tests.ibis_suite", "test_map.py", "--at-least", "100"]
    done = subprocess.run(
        [*command, "--data", tmp_path, "--keep", tmp_path / "kept"],
        cwd=root, capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"of these tauro passes: 1\d\d \(100.00 %\)", done.stdout)
