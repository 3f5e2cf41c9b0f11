"""Predicates, executors, joins and readers: the contracts that examples do not show."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tauro_nb.catalog.table import VirtualTable
from tauro_nb.context import VirtualContext
from tauro_nb.errors import AccessDenied, BindError, ExecutionError, TauroError, UnknownTable, UsageError
from tauro_nb.federation import FederationEngine, Predicate, PredicateOperator
from tauro_nb.readers import VirtualReaderFactory
from tauro_nb.rowfilter import RowFilter

OP = PredicateOperator


class TestPredicates:
    @pytest.mark.parametrize(
        ("predicate", "sql"),
        [
            (Predicate("a", OP.EQ, 1), "a = 1"),
            (Predicate("a", OP.NEQ, -1.5), "a <> CAST(-1.5 AS DOUBLE)"),
            (Predicate("a", OP.GT, Decimal("1.10")), "a > 1.10"),
            (Predicate("a", OP.GTE, dt.date(2024, 1, 1)), "a >= CAST('2024-01-01' AS DATE)"),
            (Predicate("a", OP.LT, True), "a < TRUE"),
            (Predicate("a", OP.LTE, "x'; DROP TABLE t; --"), "a <= 'x''; DROP TABLE t; --'"),
            (Predicate("a b", OP.IN, ["x", "y"]), "\"a b\" IN ('x', 'y')"),
            (Predicate("a", OP.NOT_IN, (1,)), "NOT a IN (1)"),
            (Predicate("a", OP.IN, []), "FALSE"),
            (Predicate("a", OP.NOT_IN, []), "NOT FALSE"),
            (Predicate("a", OP.LIKE, "x%"), "a LIKE 'x%'"),
            (Predicate("a", OP.IS_NULL), "a IS NULL"),
            (Predicate("a", OP.IS_NOT_NULL), "NOT a IS NULL"),
        ],
    )
    def test_display(self, predicate: Predicate, sql: str) -> None:
        assert predicate.to_sql() == sql

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("", OP.EQ, 1), "names its column"),
            (("a", "EQL", 1), r"no PredicateOperator\. Did you mean `EQ`\?"),
            (("a", OP.EQ, None), "IS_NULL"),
            (("a", OP.IN, "abc"), "list of values"),
            (("a", OP.IN, 5), "list of values"),
            (("a", OP.NOT_IN, [1, None]), "IS_NULL"),
            (("a", OP.LIKE, 5), "LIKE takes a text"),
            (("a", OP.IS_NULL, 5), "takes no value"),
            (("a", OP.EQ, object()), "no SQL form"),
        ],
    )
    def test_nonsense_is_refused_at_once(self, arguments: tuple[Any, ...], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            Predicate(*arguments)

    def test_text_operators_and_hashing(self) -> None:
        assert Predicate("a", "in", [1, 2]) == Predicate("a", OP.IN, (1, 2))  # type: ignore[arg-type]
        assert len({Predicate("a", OP.IN, [1]), Predicate("a", OP.IN, [1])}) == 1


values = st.one_of(st.none(), st.integers(-5, 5))
operators = st.sampled_from([op for op in OP if op is not OP.LIKE])


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(values, max_size=20),
    operator=operators,
    value=st.integers(-5, 5),
    others=st.lists(st.integers(-5, 5)),
)
def test_rows_are_kept_as_duckdb_keeps_them(
    rows: list[int | None], operator: OP, value: int, others: list[int]
) -> None:
    """`x IN ()` is not SQL: nothing is in it."""
    argument: Any = value
    if operator in (OP.IN, OP.NOT_IN):
        argument = others
    elif operator in (OP.IS_NULL, OP.IS_NOT_NULL):
        argument = None
    predicate = Predicate("x", operator, argument)
    table = pa.table({"x": pa.array(rows, type=pa.int64())})
    with duckdb.connect() as connection:
        connection.register("given", table)
        expected = [r[0] for r in connection.execute(f"SELECT x FROM given WHERE {predicate.to_sql()}").fetchall()]
    kept = [row["x"] for row in SHARED.apply([{"x": row} for row in rows], required=[predicate])]
    assert kept == expected


SHARED = RowFilter()


class TestExecutor:
    ROWS = ({"id": 1, "city": "Quito"}, {"id": 2, "city": "Lima"}, {"id": 3, "city": None})

    def run(self, rows: Any, *predicates: Predicate, pushdown: bool = True, limit: int | None = None) -> list[Any]:
        engine = FederationEngine()
        plan = engine.plan_query("t", predicates, limit=limit, supports_pushdown=pushdown)
        return list(engine.execute_query(plan, lambda _: rows)[0])

    def test_pushed_predicates_are_checked_where_the_column_is(self) -> None:
        city, absent = Predicate("city", OP.EQ, "Quito"), Predicate("absent", OP.EQ, 1)
        assert self.run(self.ROWS, city, absent) == [self.ROWS[0]]

    def test_residual_predicates_need_their_column(self) -> None:
        with pytest.raises(ExecutionError, match="`absent`"):
            self.run(self.ROWS, Predicate("absent", OP.IS_NULL), pushdown=False)

    @pytest.mark.parametrize("pushdown", [True, False])
    def test_a_column_that_only_some_rows_have(self, pushdown: bool) -> None:
        with pytest.raises(ExecutionError, match="only some rows have the column `id`"):
            self.run([*self.ROWS, {"city": "Cuenca"}], Predicate("id", OP.GT, 0), pushdown=pushdown)

    def test_limit_stops_the_executor(self) -> None:
        drawn = []

        def endless() -> Iterator[dict[str, int]]:
            number = 0
            try:
                while True:
                    drawn.append(number)
                    yield {"id": number}
                    number += 1
            finally:
                drawn.append(-1)

        assert len(self.run(endless(), Predicate("id", OP.GTE, 5), limit=3)) == 3
        assert drawn[-1] == -1, "its generator was closed"
        assert len(drawn) < 20_000

    def test_large_inputs_stream_and_keep_their_order(self) -> None:
        rows = ({"id": number, "thing": object()} for number in range(50_000))
        kept = self.run(rows, Predicate("id", OP.GTE, 100), Predicate("id", OP.NOT_IN, [200]))
        assert [row["id"] for row in kept] == [n for n in range(100, 50_000) if n != 200]

    def test_types_that_change_from_batch_to_batch(self) -> None:
        rows = [{"x": None}] * 20_000 + [{"x": 1.5}] * 20_000 + [{"x": 2}] * 20_000
        assert len(self.run(rows, Predicate("x", OP.GT, 1))) == 40_000
        with pytest.raises(ExecutionError, match="no common type"):
            self.run([{"x": 1}, {"x": "a"}], Predicate("x", OP.GT, 1))

    @pytest.mark.parametrize(("value", "error"), [(1, BindError), (dt.date(2024, 1, 1), TauroError)])
    def test_values_are_not_quoted_in_errors(self, value: Any, error: type[Exception]) -> None:
        with pytest.raises(error) as failed:
            self.run([{"x": "sekret"}], Predicate("x", OP.GT, value))
        assert "sekret" not in str(failed.value)

    def test_keys_in_any_case(self) -> None:
        assert self.run([{"ID": 1}, {"ID": 2}], Predicate("id", OP.EQ, 2)) == [{"ID": 2}]

    def test_rows_must_be_mappings(self) -> None:
        with pytest.raises(UsageError, match="mappings"):
            self.run([(1, 2)], Predicate("id", OP.EQ, 2))

    def test_statistics_are_final_at_the_end(self) -> None:
        engine = FederationEngine()
        plan = engine.plan_query("t", [Predicate("id", OP.GT, 1)])
        rows, statistics = engine.execute_query(plan, lambda _: self.ROWS, query_id="mine")
        assert statistics.rows_returned == 0
        assert len(list(rows)) == statistics.rows_returned == 2
        assert engine.query_optimizer._statistics["mine"] is statistics
        rows, statistics = engine.execute_query(plan, lambda _: self.ROWS)
        next(rows)
        rows.close()  # type: ignore[attr-defined]
        assert (statistics.rows_returned, statistics.status) == (1, "SUCCESS")

    def test_engines_and_executors_do_not_mix(self, layer: VirtualContext) -> None:
        offline, online = FederationEngine(), FederationEngine(layer)
        plan = online.plan_query("people")
        with pytest.raises(UsageError, match="without a context"):
            offline.execute_query(plan)
        with pytest.raises(UsageError, match="made with a context"):
            offline.execute_query(plan, lambda _: [])
        with pytest.raises(UsageError, match="reads the sources itself"):
            online.execute_query(plan, lambda _: [])
        with pytest.raises(UsageError, match="not made by this catalog"):
            online.execute_query(offline.plan_query("people"))

    def test_two_threads_share_an_engine(self) -> None:
        engine = FederationEngine()
        counts: list[int] = []

        def work(least: int) -> None:
            plan = engine.plan_query("t", [Predicate("id", OP.GTE, least)])
            counts.append(len(list(engine.execute_query(plan, lambda _: [{"id": n} for n in range(1000)])[0])))

        threads = [threading.Thread(target=work, args=(least,)) for least in (0, 250, 500, 750)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(counts) == [250, 500, 750, 1000]


@pytest.mark.parametrize("bad", [{"projection": []}, {"projection": "id"}, {"limit": -1}, {"limit": True}])
def test_requests_that_make_no_sense(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        FederationEngine().plan_query("t", [], **bad)


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[VirtualContext]:
    (tmp_path / "people.csv").write_text("id,name,city\n1,Ana,Quito\n2,Bob,Lima\n")
    (tmp_path / "sales.csv").write_text("person,amount,shop\n1,10,7\n1,5,8\n2,1,7\n3,1,7\n")
    (tmp_path / "shops.csv").write_text("id,label\n7,North\n8,South\n")
    tables = {name: {"path": str(tmp_path / f"{name}.csv")} for name in ("people", "sales", "shops")}
    policy = {"row_level_filters": {"analyst": "city = 'Quito'", "admin": ""}, "allowed_roles": ["analyst", "admin"]}
    with VirtualContext({"virtual_tables": tables, "security_policies": {"people": policy}}) as context:
        yield context


class TestJoins:
    def test_three_tables(self, layer: VirtualContext) -> None:
        engine = FederationEngine(layer)
        plan = engine.plan_federated_join(
            ["people", "shops", "sales"], {"who": "people.id = sales.person", "where": "sales.shop = shops.id"}
        )
        assert plan.order == ("people", "sales", "shops")
        assert plan.plan is not None
        rows = list(engine.execute_query(plan.plan)[0])
        assert sorted((row["name"], row["amount"], row["label"]) for row in rows) == [
            ("Ana", 5, "South"),
            ("Ana", 10, "North"),
            ("Bob", 1, "North"),
        ]

    def test_policies_hold(self, layer: VirtualContext) -> None:
        conditions = {"who": "people.id = sales.person"}
        engine = FederationEngine(layer.as_principal("analyst"))
        plan = engine.plan_federated_join(["people", "sales"], conditions)
        assert plan.plan is not None
        assert {row["name"] for row in engine.execute_query(plan.plan)[0]} == {"Ana"}
        with pytest.raises(AccessDenied):
            FederationEngine(layer.as_principal("intern")).plan_federated_join(["people", "sales"], conditions)
        assert layer.audit_logs(principal="intern")[-1].status == "DENIED"

    @pytest.mark.parametrize(
        ("tables", "conditions", "error", "message"),
        [
            (["a"], {}, UsageError, "at least two"),
            (["a", "A"], {"k": "a.x = a.y"}, UsageError, "stands twice"),
            (["a", "b"], {}, UsageError, "no join condition connects `b` with `a`"),
            (["a", "b", "c"], {"k": "a.x = b.x"}, UsageError, "connects `c`"),
            (["a", "b"], {"k": "a.x = c.x"}, BindError, "`k` speaks of `c`"),
            (["orders", "b"], {"k": "oders.x = b.x"}, BindError, r"Did you mean `orders`\?"),
            (["a", "b"], {"k": "x = b.x"}, UsageError, "does not compare two columns"),
            (["a", "b"], {"k": "a.x = 1"}, UsageError, "does not compare two columns"),
            (["a", "b"], {"k": "a.x = a.y"}, UsageError, "with itself"),
            (["a", "b"], {"k": "a.x = b.x OR TRUE"}, UsageError, "does not compare"),
            (["a", "b"], {"k": "a.x = (SELECT 1)"}, UsageError, "does not compare"),
            (["a", "b"], {"k": "a.x = b.x; DROP TABLE a"}, UsageError, "does not compare"),
            (["a", "b"], {"k": "a.x = b.x LIMIT 1"}, UsageError, "does not compare"),
            (["a", "b"], {"k": "((("}, UsageError, "does not compare"),
        ],
    )
    def test_conditions_that_are_none(
        self, tables: list[str], conditions: dict[str, str], error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            FederationEngine().plan_federated_join(tables, conditions)

    def test_unknown_columns_and_tables(self, layer: VirtualContext) -> None:
        engine = FederationEngine(layer)
        with pytest.raises(BindError, match="persn"):
            engine.plan_federated_join(["people", "sales"], {"who": "people.id = sales.persn"})
        with pytest.raises(UnknownTable, match=r"Did you mean `sales`\?"):
            engine.plan_federated_join(["people", "sale"], {"who": "people.id = sale.person"})

    def test_several_comparisons_and_operators(self) -> None:
        plan = FederationEngine().plan_federated_join(["s.a", "b"], {"k": "s.a.x = b.x AND (s.a.y >= b.y)"})
        assert [condition.sql for condition in plan.conditions] == ["s.a.x = b.x", "s.a.y >= b.y"]
        assert plan.fragments == {"s.a": (), "b": ()}


class TestReaders:
    def test_a_reader_of_the_catalog_is_governed(self, layer: VirtualContext) -> None:
        analyst = layer.as_principal("analyst")
        reader = VirtualReaderFactory(analyst).create_reader("people")
        assert list(reader) == list(reader.read()) == [{"id": 1, "name": "Ana", "city": "Quito"}]
        assert reader.read_arrow().column_names == ["id", "name", "city"]
        assert reader.schema() == {"id": "BIGINT", "name": "VARCHAR", "city": "VARCHAR"}
        assert {log.principal for log in layer.audit_logs(table_name="people")} == {"analyst"}
        with pytest.raises(AccessDenied):
            list(VirtualReaderFactory(layer.as_principal("intern")).create_reader("people").read())

    def test_what_the_catalog_does_not_hold(self, layer: VirtualContext) -> None:
        factory = VirtualReaderFactory(layer)
        with pytest.raises(UnknownTable, match=r"Did you mean `people`\?"):
            factory.create_reader("peple")
        with pytest.raises(UnknownTable):
            factory.create_reader(VirtualTable("other", path="other.csv"))
        with pytest.raises(UsageError, match="not the table given"):
            factory.create_reader(VirtualTable("people", path="other.csv"))

    def test_without_a_context(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("a\n1\n2\n")
        reader = VirtualReaderFactory().create_reader(VirtualTable("my.t", path=str(tmp_path / "t.csv")))
        rows = reader.read()
        assert next(rows) == {"a": 1}
        rows.close()  # type: ignore[attr-defined]
        assert [row["a"] for row in reader.read()] == [1, 2]
        assert repr(reader) == "<VirtualReader of 'my.t' (FILESYSTEM)>"
        with pytest.raises(UsageError, match="VirtualTable itself"):
            VirtualReaderFactory().create_reader("t")
