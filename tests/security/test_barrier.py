"""The barrier: what passes below a policy cannot fail, and below a strict one nothing passes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot

from tauro_nb import VirtualContext
from tauro_nb.errors import TauroError
from tauro_nb.query.binder import Binder
from tauro_nb.query.leakproof import is_leakproof
from tauro_nb.query.names import RAW, leaf_kind
from tauro_nb.query.plan import QueryPlan, whole
from tauro_nb.query.trees import conjuncts

# Type -> values at the ends of it.
EXTREMES = {
    "BOOLEAN": ["true", "false"],
    "TINYINT": ["-128", "127"],
    "BIGINT": ["-9223372036854775808", "9223372036854775807"],
    "UBIGINT": ["0", "18446744073709551615"],
    "HUGEINT": ["'-170141183460469231731687303715884105728'", "'170141183460469231731687303715884105727'"],
    "DECIMAL(18,3)": ["'999999999999999.999'", "'-999999999999999.999'"],
    "DECIMAL(38,0)": ["'99999999999999999999999999999999999999'"],
    "DECIMAL(38,10)": ["'9999999999999999999999999999.9999999999'"],
    "DECIMAL(38,38)": ["'0.99999999999999999999999999999999999999'"],
    "FLOAT": ["'nan'", "'-inf'", "3e38"],
    "DOUBLE": ["'nan'", "'inf'", "1e308"],
    "VARCHAR": ["''", "'zz'", "'99999999999999999999999'", "'2024-13-45'"],
    "DATE": ["'5877642-06-25 (BC)'", "'5881580-07-10'", "'infinity'"],
    "TIMESTAMP": ["'290309-12-22 (BC) 00:00:00'", "'294247-01-10 04:00:54'", "'infinity'"],
    "TIME": ["'00:00:00'", "'24:00:00'"],
    "UUID": ["'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
    "BLOB": ["''", "'\\xFF\\x00'"],
}
CONSTANTS = [
    "5", "-5", "0", "127", "300", "123456789012345", "123456789012345678", "1.5", "-1.5", "0.00000000000001",
    "1234567.1234567", "1e5", "'5'", "'x'", "''", "'2024-01-01'", "'2024-13-45'", "'2024-01-01 10:00:00'", "NULL",
    "true", "DATE '2024-01-01'", "DATE 'soon'", "TIMESTAMP '2024-01-01 10:00:00'", "TIMESTAMP 'soon'",
    "CAST(5 AS DECIMAL(38,5))", "CAST(5 AS HUGEINT)", "CAST(300 AS TINYINT)", "CAST(-3 AS BIGINT)", "CAST('x' AS UUID)",
    "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'10:00:00'",
]  # fmt: skip
FORMS = [
    "a = {c}", "{c} < a", "a <> {c}", "a BETWEEN {c} AND {c}", "a IN ({c}, {c})", "NOT (a >= {c} OR a IS NULL)",
    "a", "NOT a", "a IS TRUE", "a IS NULL", "-a = {c}", "a + 1 > {c}", "a = a", "CAST(a AS VARCHAR) = {c}",
]  # fmt: skip


@pytest.fixture(scope="module")
def extremes() -> Iterator[duckdb.DuckDBPyConnection]:
    """A table for each type, in rows enough for the engine to convert whole vectors."""
    with duckdb.connect() as connection:
        for number, (kind, values) in enumerate(EXTREMES.items()):
            rows = ", ".join(f"(CAST({value} AS {kind}))" for value in values)
            connection.execute(f"CREATE TABLE t{number} AS FROM (VALUES {rows}) AS x(a)")
        yield connection


@pytest.mark.parametrize("number", range(len(EXTREMES)), ids=list(EXTREMES))
def test_what_is_called_leakproof_never_fails(extremes: duckdb.DuckDBPyConnection, number: int) -> None:
    binder, kind = Binder(), list(EXTREMES)[number]
    proven, refused = 0, 0
    for text in dict.fromkeys(form.format(c=constant) for form in FORMS for constant in CONSTANTS):
        condition = sqlglot.parse_one(text, read="duckdb")
        if not is_leakproof(condition, {"a": kind}, {}, binder):
            refused += 1
            continue
        try:
            extremes.execute(f"SELECT count(*) FROM t{number} WHERE {condition.sql('duckdb')}").fetchall()
        except duckdb.BinderException:
            continue  # refused before any row is read, whatever they hold
        proven += 1
    assert refused > 100
    assert proven >= 2


def test_the_usual_predicates_are_leakproof() -> None:
    binder = Binder()
    types = {"id": "BIGINT", "name": "VARCHAR", "day": "DATE", "price": "DECIMAL(15,2)", "ok": "BOOLEAN"}
    for text in (
        "id = 7", "id IN (1, 2, 3)", "name = 'Ana'", "name IN ('Ana', 'Bo')", "day >= DATE '2024-01-01'",
        "day BETWEEN '2024-01-01' AND '2024-12-31'", "price < 10.50", "price > -3", "ok", "NOT ok", "name IS NOT NULL",
        "id = 7 OR (name = 'x' AND price <> 0)", "id = $wanted",
    ):  # fmt: skip
        condition = sqlglot.parse_one(text, read="duckdb")
        assert is_leakproof(condition, types, {"wanted": 3}, binder), text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People, of whom the analyst sees Sales; the day is one that no timestamp can hold."""
    folder = tmp_path_factory.mktemp("barrier")
    with duckdb.connect(str(folder / "w.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE people AS SELECT i AS id, CASE WHEN i % 4 = 0 THEN 'Sales' ELSE 'Legal' END AS team, "
            "CASE WHEN i % 4 = 0 THEN '7' ELSE 'secret' || i END AS name, i % 4 = 0 AS ok, "
            "CASE WHEN i % 4 = 0 THEN DATE '2024-01-01' ELSE DATE '5877642-06-24' END AS day, "
            "(CASE WHEN i % 4 = 0 THEN 1 ELSE -9223372036854775808 END)::BIGINT AS big FROM range(4000) t(i)"
        )
        connection.execute("CREATE TABLE open AS SELECT i * 4 AS id FROM range(5) t(i)")
    return folder


def open_context(folder: Path, *, barrier: str = "leakproof", own: str = "leakproof") -> VirtualContext:
    """The people behind a policy, with what the configuration and the policy say of the barrier."""
    config: dict[str, Any] = {
        "connections": {"wh": {"type": "duckdb", "path": str(folder / "w.duckdb")}},
        "virtual_tables": {
            name: {"connector_type": "duckdb", "connection": "wh", "table": name} for name in ("people", "open")
        },
        "security": {"barrier": barrier},
        "security_policies": {
            "people": {"barrier": own, "row_level_filters": {"admin": "", "analyst": "team = 'Sales'"}}
        },
    }
    return VirtualContext(config, "analyst")


def below(plan: QueryPlan) -> list[str]:
    """The conditions that stand beside the policy's own, that one among them."""
    leaves = [
        select for fragment in whole(plan).fragments for select in fragment.tree.find_all(sqlglot.exp.Select)
        if leaf_kind(select.args["from_"].this) == RAW
    ]  # fmt: skip
    return [part.sql("duckdb") for leaf in leaves for part in conjuncts(leaf.args["where"].this)]


@pytest.mark.parametrize(("barrier", "own"), [("strict", "leakproof"), ("leakproof", "strict")])
def test_nothing_passes_a_strict_barrier(folder: Path, barrier: str, own: str) -> None:
    statement = "SELECT id FROM people WHERE id = 8 AND team = 'Sales'"
    with open_context(folder) as ctx:
        assert len(below(ctx.plan(statement))) == 3
        assert not ctx.plan(statement).strict
    with open_context(folder, barrier=barrier, own=own) as ctx:
        assert len(below(ctx.plan(statement))) == 1
        assert ctx.query(statement).rows() == [{"id": 8}]
        assert ctx.plan("SELECT id FROM open WHERE id = 8").fragments[0].predicates
        assert {"join_filter_pushdown", "top_n", "statistics_propagation"} == ctx.plan(statement).switched_off
        assert not ctx.plan("SELECT id FROM open").switched_off
        # Who sees everything needs no barrier.
        assert not ctx.as_principal("admin").plan(statement).fenced


@pytest.mark.parametrize("statement", [
    "SELECT count(*) FROM people p JOIN open o USING (id)",
    "SELECT id FROM people ORDER BY id LIMIT 3",
    "SELECT id FROM people ORDER BY id DESC LIMIT 3",
    "SELECT id FROM people WHERE id IN (SELECT id FROM open)",
])  # fmt: skip
def test_no_filter_found_while_running_passes_a_strict_barrier(folder: Path, statement: str) -> None:
    """DuckDB sends what a join or a sort found to the scan, through any LIMIT: `EXPLAIN` says `Dynamic Filter`."""
    shown = []
    for barrier in ("leakproof", "strict"):
        with open_context(folder, barrier=barrier) as ctx:
            plan = whole(ctx.plan(statement))
            engine = ctx.layer.machine.engine
            with engine.cursor(list(plan.sources.values()), switched_off=plan.switched_off) as cursor:
                words = cursor.execute(f"EXPLAIN ANALYZE {plan.residual.sql('duckdb')}").fetchall()[0][1]
            shown.append("Dynamic Filter" in words)
    assert shown == [True, False]


CONVERTING = [
    "name = 7", "name IN (7, 8)", "-big < 0", "day < TIMESTAMP '2024-06-01 10:00:00'", "name = 7 OR id = 3",
]  # fmt: skip


@pytest.mark.parametrize("barrier", ["leakproof", "strict"])
@pytest.mark.parametrize("condition", [*CONVERTING, "ok AND name = 7"])
def test_comparisons_that_convert_a_column_stay_above(folder: Path, barrier: str, condition: str) -> None:
    """Each can fail for hidden rows, and for visible ones does not: what is asked has an answer."""
    with open_context(folder, barrier=barrier) as ctx:
        assert len(ctx.query(f"SELECT id FROM people WHERE {condition}").rows()) in (0, 1000)


@pytest.mark.parametrize("barrier", ["leakproof", "strict"])
def test_a_constant_that_fails_does_not_tell_whether_a_row_is_there(folder: Path, barrier: str) -> None:
    """Beside `id = 1` below the barrier it would fail when there is a hidden row 1, and only then."""
    outcomes = []
    with open_context(folder, barrier=barrier) as ctx:
        for wanted in (1, 2, 3, -1, 999_999):
            try:
                outcomes.append(
                    ctx.query(f"SELECT id FROM people WHERE id = {wanted} AND day = CAST('soon' AS DATE)").rows()
                )
            except TauroError as error:
                outcomes.append(str(error))
    assert outcomes == outcomes[:1] * 5


@pytest.mark.parametrize("condition", CONVERTING)
def test_they_fail_where_no_policy_is_in_the_way(folder: Path, condition: str) -> None:
    with open_context(folder) as ctx, pytest.raises(TauroError):
        ctx.as_principal("admin").query(f"SELECT id FROM people WHERE {condition}").rows()


def hostile_rows(folder: Path) -> dict[str, Any]:
    """Texts whose hidden values are no regular expression, repeated often enough to be kept as a dictionary."""
    value = "CASE WHEN i % 500 = 0 THEN '1' ELSE '(' END"
    rows = (
        f"SELECT i AS id, CASE WHEN i % 500 = 0 THEN 'eng' ELSE 'ops' END AS team, {value} AS s, "
        f"{{'a': {value}}} AS st, [{value}] AS l, map {{'a': {value}}} AS mp FROM range(100000) r(i)"
    )
    with duckdb.connect(str(folder / "dictionary.duckdb")) as connection:
        connection.execute(f"CREATE TABLE t AS {rows}")
        connection.execute("CHECKPOINT")
        kinds = connection.execute("SELECT DISTINCT compression FROM pragma_storage_info('t') WHERE column_name = 's'")
        assert "Dictionary" in {kind for (kind,) in kinds.fetchall()}
        connection.execute(f"COPY t TO '{folder / 'dictionary.parquet'}' (FORMAT parquet, ROW_GROUP_SIZE 20480)")
    return {
        "connections": {"wh": {"type": "duckdb", "path": str(folder / "dictionary.duckdb")}},
        "virtual_tables": {
            "native": {"connector_type": "duckdb", "connection": "wh", "table": "t"},
            "parquet": {"connector_type": "parquet", "path": str(folder / "dictionary.parquet")},
        },
        "security_policies": {
            name: {"row_level_filters": {"analyst": "team = 'eng'"}} for name in ("native", "parquet")
        },
    }


@pytest.mark.parametrize("table", ["native", "parquet"])
def test_functions_meet_no_hidden_entry_of_a_dictionary(tmp_path: Path, table: str) -> None:
    """DuckDB calls a function once for each entry of a dictionary, whether or not a row that is left holds it."""
    expressions = ["regexp_full_match('abc', s)", "regexp_full_match('abc', st.a)", "regexp_full_match('abc', l[1])"]
    expressions += ["l::JSON[]", "mp::MAP(VARCHAR, JSON)", "regexp_full_match('abc', mp['a'])", "json_valid(s)"]
    with VirtualContext(hostile_rows(tmp_path), "analyst") as ctx:
        for expression in expressions:
            assert len(ctx.query(f"SELECT {expression} AS x FROM {table}").rows()) == 200
            rows = ctx.query(f"SELECT count(*) AS n FROM {table} WHERE hash({expression}) <> 42").rows()
            assert rows == [{"n": 200}]


def test_dates_are_calculated_for_visible_rows_only(tmp_path: Path) -> None:
    """A Parquet file keeps repeated moments in a dictionary as well; the hidden one leaves the range of its type."""
    moment = "TIMESTAMPTZ '2024-01-02'"
    hidden = "TIMESTAMPTZ '294247-01-10 04:00:54+00'"
    rows = (
        f"SELECT i AS id, i % 500 = 0 AS ok, CASE WHEN i % 500 <> 0 AND i % 3 = 0 THEN {hidden} ELSE {moment} END "
        "AS tz FROM range(100000) r(i)"
    )
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({rows}) TO '{tmp_path / 't.parquet'}' (FORMAT parquet, ROW_GROUP_SIZE 20480)")
    config = {
        "virtual_tables": {"t": {"connector_type": "parquet", "path": str(tmp_path / "t.parquet")}},
        "security_policies": {"t": {"row_level_filters": {"analyst": "ok"}}},
    }
    with VirtualContext(config, "analyst") as ctx:
        for sql in (
            "SELECT INTERVAL 1 DAY + tz AS x FROM t",
            "SELECT id FROM t ORDER BY tz + INTERVAL 1 DAY, id LIMIT 200",
        ):
            assert len(ctx.query(sql).rows()) == 200


def test_texts_are_cut_for_visible_rows_only(tmp_path: Path) -> None:
    """A place in a text may be a number out of the range that DuckDB counts to, and is no constant in a column."""
    seen = "i % 500 = 0"
    rows = (
        f"SELECT i AS id, {seen} AS ok, CASE WHEN {seen} THEN 3 ELSE 9223372036854775807 - i % 3 END AS n, "
        f"CASE WHEN {seen} THEN DATE '2024-01-01' ELSE DATE '5881580-07-10' END AS day FROM range(100000) r(i)"
    )
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({rows}) TO '{tmp_path / 't.parquet'}' (FORMAT parquet, ROW_GROUP_SIZE 20480)")
        with pytest.raises(duckdb.Error):
            connection.execute(f"SELECT count(left('abc', n)) FROM '{tmp_path / 't.parquet'}' WHERE ok").fetchall()
    config = {
        "virtual_tables": {"t": {"connector_type": "parquet", "path": str(tmp_path / "t.parquet")}},
        "security_policies": {"t": {"row_level_filters": {"analyst": "ok"}}},
    }
    cuts = ("left('abc', n)", "substr('abc', n)", "substring('abc', 1, n)", "right('abc', n)", "repeat('a', n)")
    others = ("INTERVAL (n) DAY", "date_add(day, INTERVAL (n) DAY)", "extract(epoch FROM day)", "last_day(day)")
    with VirtualContext(config, "analyst") as ctx:
        for expression in (*cuts, *others):
            assert ctx.query(f"SELECT count({expression}) AS n FROM t").rows() == [{"n": 200}], expression
