"""Tables that are a query at their source, and their `{{ parameters }}`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import ConfigError, SchemaMismatch, UnboundParameter
from tests.sources.conftest import Open


def table(connector: str, query: str, **more: Any) -> dict[str, Any]:
    return {"connector_type": connector, "connection": "c", "query": query, **more}


@pytest.fixture
def postgres(orders_uri: str, opened: Open) -> VirtualContext:
    tables = {
        "since": table(
            "postgresql",
            "SELECT id, amount, day FROM orders WHERE day >= '{{ start }}' AND id < {{ top }}",
            parameters={"start": "2024-01-15", "top": 100},
        ),
        "noted": table("postgresql", "SELECT id FROM orders WHERE note = {{ note }}"),
        "wide": table("postgresql", "SELECT id, customer FROM orders"),
    }
    return opened({"connections": {"c": orders_uri}, "virtual_tables": tables})


def ids(ctx: VirtualContext, sql: str, **params: Any) -> list[int]:
    return sorted(row["id"] for row in ctx.query(sql, params or None).rows())


@pytest.mark.postgres
class TestPostgreSQL:
    def test_defaults_apply_and_requests_override_them(self, postgres: VirtualContext) -> None:
        assert ids(postgres, "SELECT id FROM since") == [2, 3]
        assert ids(postgres, "SELECT id FROM since", start="2024-02-15") == [3]
        assert ids(postgres, "SELECT id FROM since", top=3) == [2]
        assert ids(postgres, "SELECT id FROM since") == [2, 3], "a request's values are for that request"

    def test_dates_and_numbers_are_bound_with_their_type(self, postgres: VirtualContext) -> None:
        assert ids(postgres, "SELECT id FROM since", start=dt.date(2024, 3, 1), top=4) == [3]

    def test_own_parameters_of_the_request_stay_apart(self, postgres: VirtualContext) -> None:
        assert ids(postgres, "SELECT id FROM since WHERE id > :top", top=2) == []
        assert ids(postgres, "SELECT id FROM since WHERE id > :least", least=2) == [3]

    @pytest.mark.parametrize(
        "value", ["x' OR '1'='1", "'; DROP TABLE orders; --", "x\\' OR 1=1 --", "{{ note }}", "$1"]
    )
    def test_a_value_is_never_sql(self, postgres: VirtualContext, value: str) -> None:
        assert ids(postgres, "SELECT id FROM noted", note=value) == []
        assert ids(postgres, "SELECT id FROM noted", note="it's") == [1]

    def test_a_missing_value_is_named(self, postgres: VirtualContext) -> None:
        with pytest.raises(UnboundParameter, match="`noted` needs a value for `note`"):
            postgres.query("SELECT * FROM noted")
        assert [log.table_name for log in postgres.audit_logs(status="FAILED")] == ["noted"]

    def test_types_are_those_of_the_server(self, postgres: VirtualContext) -> None:
        assert postgres.describe("since").table.columns[1].type == "DECIMAL(10,2)"
        plan = postgres.plan("SELECT id FROM since WHERE id = 3")
        assert "= 3" in plan.fragments[0].sql, "the column keeps its type, so the server compares it"

    def test_a_column_that_changes_its_type_is_seen(
        self, fresh_postgres_database: str, opened: Open, postgres_server: Any
    ) -> None:
        name = fresh_postgres_database.rsplit("/", 1)[1]
        postgres_server.execute("CREATE TABLE t AS SELECT 1 AS a", name)
        ctx = opened(
            {
                "connections": {"c": fresh_postgres_database},
                "virtual_tables": {"q": table("postgresql", "SELECT a FROM t")},
            }
        )
        assert ctx.query("SELECT * FROM q").rows() == [{"a": 1}]
        postgres_server.execute("ALTER TABLE t ALTER a TYPE float4 USING 2.5", name)
        assert ctx.query("SELECT * FROM q").rows() == [{"a": 2.5}]
        postgres_server.execute("ALTER TABLE t RENAME a TO b", name)
        with pytest.raises(SchemaMismatch):
            ctx.query("SELECT * FROM q")


class TestSQLite:
    def open(self, opened: Open, path: Path, query: str, **more: Any) -> VirtualContext:
        tables = {"q": table("sqlite", query, **more)}
        return opened({"connections": {"c": {"type": "sqlite", "path": str(path)}}, "virtual_tables": tables})

    def test_stored_columns_keep_their_types(self, opened: Open, clients_path: Path) -> None:
        ctx = self.open(opened, clients_path, "SELECT id, name, score, joined FROM clients WHERE id = {{ id }}")
        result = ctx.query("SELECT * FROM q", {"id": 1})
        assert result.rows() == [{"id": 1, "name": "Ana", "score": 0.1, "joined": dt.date(2024, 1, 1)}]
        assert ctx.query("SELECT sum(id) AS s FROM q WHERE joined > '2024-02-01'", {"id": 2}).rows() == [{"s": 2}]

    def test_a_computed_column_needs_a_declared_type(self, opened: Open, clients_path: Path) -> None:
        ctx = self.open(opened, clients_path, "SELECT id, score * 2 AS twice, upper(name) AS loud FROM clients")
        with pytest.raises(SchemaMismatch, match="columns `twice`, `loud`"):
            ctx.query("SELECT id FROM q")

    def test_declared_types_of_computed_columns_hold(self, opened: Open, clients_path: Path) -> None:
        schema = {"twice": "DOUBLE", "exact": "DECIMAL(9,3)", "loud": "VARCHAR", "n": "INTEGER", "joined": "DATE"}
        ctx = self.open(
            opened,
            clients_path,
            "SELECT score * 3 AS twice, 1.125 AS exact, upper(name) AS loud, 7 AS n, joined, id + 1 AS no FROM clients",
            schema=schema,
        )
        assert {column.name: column.type for column in ctx.describe("q").table.columns} == schema
        first = ctx.query("SELECT * FROM q WHERE n = 7 ORDER BY loud LIMIT 1").rows()[0]
        assert first["twice"] == 0.1 * 3, "no digit is lost on the way"
        assert (str(first["exact"]), first["loud"], first["n"], first["joined"]) == (
            "1.125",
            "ANA",
            7,
            dt.date(2024, 1, 1),
        )

    def test_a_query_that_no_longer_fits(self, opened: Open, clients_path: Path) -> None:
        with pytest.raises(SchemaMismatch, match="`q`: its query does not fit"):
            self.open(opened, clients_path, "SELECT nope FROM clients").query("SELECT * FROM q")


class TestDuckDB:
    def test_ctes_parameters_and_names_stay_inside(self, opened: Open, warehouse_path: Path) -> None:
        query = "WITH z AS (SELECT * FROM facts) SELECT id, v + 1 AS w FROM z WHERE v >= {{ v }}"
        tables = {"q": table("duckdb", query, parameters={"v": 4}), "facts": {"query": "SELECT 'mine' AS id"}}
        ctx = opened({"connections": {"c": {"type": "duckdb", "path": str(warehouse_path)}}, "virtual_tables": tables})
        assert ctx.query("SELECT * FROM q ORDER BY id").rows() == [{"id": i, "w": 2 * i + 1} for i in (2, 3, 4)]
        assert ids(ctx, "SELECT id FROM q", v=8) == [4]
        assert ids(ctx, "WITH facts AS (SELECT 1 AS v) SELECT id FROM q", v=8) == [4]


@pytest.mark.parametrize(
    "query",
    ["SELECT 1; SELECT 2", "DROP TABLE orders", "SELEC 1", "SELECT '{{ a }} and more' AS x", 'SELECT "{{ a }}"'],
)
def test_what_is_not_one_select_with_whole_values_is_refused(opened: Open, clients_path: Path, query: str) -> None:
    tables = {"q": table("sqlite", query, parameters={"a": 1})}
    ctx = opened({"connections": {"c": {"type": "sqlite", "path": str(clients_path)}}, "virtual_tables": tables})
    with pytest.raises(ConfigError, match="table `q`"):
        ctx.query("SELECT * FROM q")
