"""Bad input and broken sources: one clear error each, nothing returned, an audit record, and the next query works."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tauro_nb.context import VirtualContext
from tauro_nb.errors import (
    AccessDenied,
    BindError,
    ExecutionError,
    ParseError,
    QueryCancelled,
    SchemaMismatch,
    SourceUnavailable,
    TauroError,
    UnboundParameter,
    UnknownTable,
    UnsupportedStatement,
    UsageError,
)
from tests.servers import PASSWORD, PostgresServer, start_postgres

PHYSICAL = "phys_orders_t"
SECRET = "sekret"
POLICY_VALUE = "polval"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hidden-folder").mkdir()
    pq.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "hidden-folder" / "data.parquet")
    return tmp_path / "hidden-folder"


def configuration(folder: Path, uri: str | None = None) -> dict[str, Any]:
    tables: dict[str, Any] = {"numbers": {"path": str(folder / "data.parquet")}}
    connections = {}
    if uri:
        connections["pg"] = uri
        orders = {"connection": "pg", "connector_type": "postgresql", "table": PHYSICAL}
        declared = {**orders, "schema": {"id": "INTEGER", "amount": "INTEGER"}}
        tables |= {"orders": orders, "declared": declared}
    policy = {"row_level_filters": {"analyst": f"a > 1 OR '{POLICY_VALUE}' = 'x'", "admin": ""}}
    return {"connections": connections, "virtual_tables": tables, "security_policies": {"numbers": policy}}


def refused(
    ctx: VirtualContext,
    run: Callable[[], Any],
    error: type[TauroError],
    pattern: str,
    *,
    status: str = "FAILED",
    table: str | None = None,
) -> TauroError:
    """The error, checked: of this very class, in words without secrets, and with one audit record of its own."""
    before = len(ctx.audit_logs())
    with pytest.raises(error, match=pattern) as caught:
        run()
    assert type(caught.value) is error
    shown = "\n".join([str(caught.value), *caught.value._render_traceback_()])
    leaks = [
        PHYSICAL,
        SECRET,
        POLICY_VALUE,
        PASSWORD,
        "hidden-folder",
        "data.parquet",
        "127.0.0.1",
        "postgres:",
        "~raw",
    ]
    assert [leak for leak in leaks if leak in shown] == []
    assert caught.value.__cause__ is None
    records = ctx.audit_logs()[before:]
    assert [record.status for record in records] == [status]
    if table is not None:
        assert records[0].table_name == table
    assert SECRET not in json.dumps([record.to_dict() for record in records])
    return caught.value


def works(ctx: VirtualContext) -> None:
    assert ctx.query("SELECT sum(a)::int AS s FROM numbers").rows() == [{"s": 6}]


BAD = {
    "unknown table": ("SELECT * FROM numbrs", UnknownTable, r"`numbrs`.*Did you mean `numbers`\?"),
    "unknown column": ("SELECT aa FROM numbers", BindError, r"unknown column `aa`\. Did you mean `a`\?"),
    "unknown column of an alias": ("SELECT n.b FROM numbers n", BindError, "unknown column `b`"),
    "unknown alias": ("SELECT x.a FROM numbers n", BindError, "unknown table `x`"),
    "unknown function": ("SELECT summ(a) FROM numbers", BindError, "`summ`"),
    "two statements": ("SELECT 1; SELECT a FROM numbers", UnsupportedStatement, "2 statements"),
    "select then drop": ("SELECT 1; DROP TABLE numbers", UnsupportedStatement, "2 statements"),
    "insert": ("INSERT INTO numbers VALUES (4)", UnsupportedStatement, "INSERT"),
    "update": ("UPDATE numbers SET a = 1", UnsupportedStatement, "UPDATE"),
    "delete": ("DELETE FROM numbers", UnsupportedStatement, "DELETE"),
    "merge": (
        "MERGE INTO numbers n USING numbers m ON n.a = m.a WHEN MATCHED THEN DELETE", UnsupportedStatement, "MERGE"
    ),
    "drop": ("DROP TABLE numbers", UnsupportedStatement, "DROP"),
    "create": ("CREATE TABLE t AS SELECT a FROM numbers", UnsupportedStatement, "CREATE"),
    "create view": ("CREATE VIEW v AS SELECT a FROM numbers", UnsupportedStatement, "CREATE"),
    "alter": ("ALTER TABLE numbers ADD COLUMN b INT", UnsupportedStatement, "ALTER"),
    "truncate": ("TRUNCATE numbers", UnsupportedStatement, "TRUNCATE"),
    "copy": ("COPY numbers TO 'x.csv'", UnsupportedStatement, "COPY"),
    "attach": ("ATTACH 'x.db' AS x", UnsupportedStatement, "ATTACH"),
    "pragma": ("PRAGMA database_list", UnsupportedStatement, "PRAGMA"),
    "set": ("SET threads = 1", UnsupportedStatement, "SET"),
    "install": ("INSTALL httpfs", UnsupportedStatement, "INSTALL"),
    "call": ("CALL pg_clear_cache()", UnsupportedStatement, "CALL"),
    "file": ("SELECT * FROM read_csv('/etc/passwd')", BindError, "`read_csv` is not available here"),
    "file by its name": ("SELECT * FROM '/etc/passwd'", UnknownTable, "/etc/passwd"),
    "file as text": ("SELECT read_text('/etc/passwd')", BindError, "`?read_text`?"),
    "SQL in SQL": ("SELECT * FROM query('SELECT 1')", BindError, "`query` is not available here"),
    "table by text": ("SELECT * FROM query_table('numbers')", BindError, "`query_table` is not available here"),
    "engine's catalog": ("SELECT * FROM duckdb_settings()", BindError, "`duckdb_settings` is not available here"),
    "information schema": ("SELECT * FROM information_schema.tables", UnknownTable, "information_schema.tables"),
    "environment": ("SELECT getenv('HOME')", BindError, "`getenv` is not available here"),
    "unbound parameter": ("SELECT a FROM numbers WHERE a > :least", UnboundParameter, "`:least` has no value"),
    "unbound mark": ("SELECT a FROM numbers WHERE a > ?", UnboundParameter, "has no value"),
    "no SQL": ("SELEC a FROM numbers", ParseError, "syntax error"),
    "unfinished": ("SELECT a FROM", ParseError, "syntax error"),
    "unclosed": ("SELECT 'a FROM numbers", ParseError, "unterminated"),
    "empty": ("  -- nothing\n", ParseError, "empty"),
    "wrong types": ("SELECT a + DATE '2024-01-01' || [1] FROM numbers", BindError, "."),
    "missing GROUP BY": ("SELECT a, count(*) FROM numbers", BindError, "GROUP BY"),
}  # fmt: skip


@pytest.mark.parametrize("sql", [case[0] for case in BAD.values()], ids=BAD)
def test_bad_statements(folder: Path, sql: str) -> None:
    error, pattern = next((error, pattern) for text, error, pattern in BAD.values() if text == sql)
    with VirtualContext(configuration(folder), principal="analyst") as ctx:
        caught = refused(ctx, lambda: ctx.query(sql), error, pattern)
        assert caught.message.endswith((".", "!", "?"))
        refused(ctx, lambda: ctx.plan(sql), error, pattern)
        works(ctx.as_principal("admin"))


def test_denials_are_recorded_as_denials(folder: Path) -> None:
    config = configuration(folder)
    config["security_policies"]["numbers"] = {"allowed_roles": ["admin"]}
    with VirtualContext(config) as ctx:
        intern = ctx.as_principal("intern")
        refused(
            ctx,
            lambda: intern.query("SELECT a FROM numbers"),
            AccessDenied,
            "numbers",
            status="DENIED",
            table="numbers",
        )
        refused(ctx, lambda: intern.plan("SELECT a FROM numbers"), AccessDenied, "numbers", status="DENIED")
        works(ctx)


def test_values_that_throw_are_not_quoted(tmp_path: Path, folder: Path) -> None:
    pq.write_table(pa.table({"t": ["1", SECRET]}), tmp_path / "texts.parquet")
    config = configuration(folder)
    config["virtual_tables"]["texts"] = {"path": str(tmp_path / "texts.parquet")}
    with VirtualContext(config) as ctx:
        for sql in (
            "SELECT t::int FROM texts",
            "SELECT t FROM texts WHERE t::int > 0",
            "SELECT sum(t::int) FROM texts",
        ):
            refused(ctx, lambda sql=sql: ctx.query(sql).rows(), ExecutionError, "could not be converted", table="texts")  # type: ignore[misc]
        works(ctx)


class TestFiles:
    def test_vanished_and_back(self, folder: Path) -> None:
        with VirtualContext(configuration(folder)) as ctx:
            works(ctx)
            content = (folder / "data.parquet").read_bytes()
            (folder / "data.parquet").unlink()
            refused(ctx, lambda: ctx.query("SELECT a FROM numbers"), SourceUnavailable, "no file", table="numbers")
            (folder / "data.parquet").write_bytes(content)
            works(ctx)

    def test_vanished_between_plan_and_run(self, folder: Path) -> None:
        with VirtualContext(configuration(folder)) as ctx:
            plan = ctx.plan("SELECT a FROM numbers")
            (folder / "data.parquet").unlink()
            refused(ctx, lambda: ctx.run(plan).rows(), SourceUnavailable, "no file", table="numbers")

    def test_broken(self, folder: Path) -> None:
        with VirtualContext(configuration(folder)) as ctx:
            content = (folder / "data.parquet").read_bytes()
            (folder / "data.parquet").write_bytes(content[:-20])
            refused(ctx, lambda: ctx.query("FROM numbers").rows(), SourceUnavailable, "damaged", table="numbers")
            (folder / "data.parquet").write_bytes(content)
            works(ctx)

    def test_replaced_by_one_of_another_type(self, folder: Path) -> None:
        config = configuration(folder)
        config["virtual_tables"]["declared"] = {"path": str(folder / "data.parquet"), "schema": {"a": "BIGINT"}}
        with VirtualContext(config) as ctx:
            plan = ctx.plan("SELECT a FROM numbers")
            assert ctx.query("SELECT a FROM declared LIMIT 1").rows() == [{"a": 1}]
            pq.write_table(pa.table({"a": [SECRET]}), folder / "data.parquet")
            sql = "SELECT a FROM declared"
            refused(ctx, lambda: ctx.query(sql), SchemaMismatch, "declared as BIGINT, the source has VARCHAR")
            refused(ctx, lambda: ctx.run(plan), SchemaMismatch, "columns of `numbers` changed", table="numbers")
            assert ctx.query("SELECT a FROM numbers").rows() == [{"a": SECRET}]


def test_a_plan_is_no_ticket(folder: Path) -> None:
    with VirtualContext(configuration(folder)) as ctx:
        plan = ctx.plan("SELECT a FROM numbers")
        refused_plan = ctx.as_principal("analyst").plan("SELECT a FROM numbers")
        policy = ctx.security.get_policy("numbers")
        assert policy is not None
        policy.row_level_filters["admin"] = "a = 1"
        refused(ctx, lambda: ctx.run(plan), UsageError, "`numbers`.*changed since", table="numbers")
        policy.allowed_roles.append("analyst")
        refused(ctx, lambda: ctx.run(plan), AccessDenied, "numbers", status="DENIED", table="numbers")
        with pytest.raises(UsageError, match="'analyst'"):
            ctx.run(refused_plan)


def test_interrupted_while_planning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with VirtualContext(configuration(folder)) as ctx:
        planner = ctx.planner
        with monkeypatch.context() as patch:
            patch.setattr(type(planner), "plan", _interrupt)
            refused(ctx, lambda: ctx.query("SELECT a FROM numbers"), QueryCancelled, "interrupted", status="CANCELLED")
        works(ctx)


@pytest.mark.parametrize("word", [KeyboardInterrupt(), RuntimeError("Query interrupted")], ids=["Python", "DuckDB"])
def test_interrupted_while_a_plan_is_explained(
    folder: Path, monkeypatch: pytest.MonkeyPatch, word: BaseException
) -> None:
    with VirtualContext(configuration(folder)) as ctx:
        result = ctx.query("SELECT a FROM numbers")
        with monkeypatch.context() as patch:
            patch.setattr(type(ctx.planner), "explained", partial(_interrupt, word=word))
            refused(ctx, lambda: ctx.plan("SELECT a FROM numbers"), QueryCancelled, "interrupted", status="CANCELLED")
            with pytest.raises(QueryCancelled, match="interrupted"):
                result.plan  # noqa: B018 - made when it is looked at
        assert result.plan.sql == "SELECT a FROM numbers"
        works(ctx)


@pytest.mark.parametrize("begun", [False, True])
def test_a_result_of_a_closed_context(begun: bool) -> None:
    with VirtualContext({"virtual_tables": {"many": {"query": "SELECT i FROM range(1_000_000) t(i)"}}}) as ctx:
        batches = iter(ctx.query("SELECT i FROM many").to_batches())
        if begun:
            assert next(batches).num_rows > 0
    with pytest.raises(QueryCancelled, match="closed before its rows were read"):
        list(batches)


def _interrupt(*_: Any, word: BaseException | None = None, **__: Any) -> None:
    raise word or KeyboardInterrupt


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own, to stop and kill."""
    server = start_postgres()
    server.execute(f"CREATE TABLE {PHYSICAL} (id int, amount int, note text)")
    server.execute(
        f"INSERT INTO {PHYSICAL} SELECT i, i, '{SECRET}' || repeat('x', 200) FROM generate_series(1, 300000) i"
    )
    yield server
    server.stop()


@pytest.fixture
def ctx(folder: Path, server: PostgresServer) -> Iterator[VirtualContext]:
    with VirtualContext(configuration(folder, server.uri())) as context:
        yield context


def count(ctx: VirtualContext) -> int:
    return int(ctx.query("SELECT count(*) AS n FROM orders").rows()[0]["n"])


@pytest.mark.postgres
class TestPostgreSQL:
    @pytest.mark.parametrize(
        ("change", "pattern"),
        [
            ({"password": "wrong"}, "the user or password is refused"),
            ({"user": "nobody-known"}, "user"),
            ({"database": "no_such_database"}, "does not exist"),
        ],
    )
    def test_refused_connections(
        self, folder: Path, server: PostgresServer, change: dict[str, str], pattern: str
    ) -> None:
        with VirtualContext(configuration(folder, server.uri(**change))) as ctx:
            refused(ctx, lambda: ctx.query("SELECT * FROM orders"), SourceUnavailable, pattern, table="orders")
            works(ctx)

    def test_no_right_to_read_there(self, folder: Path, server: PostgresServer) -> None:
        server.execute("CREATE ROLE low LOGIN PASSWORD 'low'")
        with VirtualContext(configuration(folder, server.uri(user="low", password="low"))) as ctx:
            for sql in ("SELECT * FROM orders", "SELECT count(*) FROM orders", "SELECT id FROM orders WHERE id = 5"):
                refused(ctx, lambda sql=sql: ctx.query(sql).rows(), SourceUnavailable, "may not read")  # type: ignore[misc]
            works(ctx)

    def test_server_down_and_up_again(self, ctx: VirtualContext, server: PostgresServer) -> None:
        assert count(ctx) == 300000
        plan = ctx.plan("SELECT id FROM orders WHERE id = 5")
        server.shut_down()
        try:
            refused(ctx, lambda: count(ctx), SourceUnavailable, "nothing answers at that address", table="orders")
            refused(ctx, lambda: ctx.run(plan).rows(), SourceUnavailable, "nothing answers", table="orders")
            works(ctx)
        finally:
            server.start_again()
        assert count(ctx) == 300000
        assert ctx.run(plan).rows() == [{"id": 5}]
        assert ctx.query("SELECT * FROM orders").to_arrow().num_rows == 300000

    @pytest.mark.parametrize(
        "sql", ["SELECT * FROM orders", "SELECT o.*, n.a FROM orders o LEFT JOIN numbers n ON a = id"]
    )
    def test_connection_cut_in_the_stream(self, ctx: VirtualContext, server: PostgresServer, sql: str) -> None:
        batches = iter(ctx.query(sql).to_batches())
        next(batches)
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tauro_nb%'")
        with pytest.raises(SourceUnavailable, match=r"failed while it was read \(.*`pg`\)") as caught:
            list(batches)
        assert PHYSICAL not in str(caught.value)
        assert ctx.audit_logs(table_name="orders")[-1].status == "FAILED"
        assert count(ctx) == 300000
        works(ctx)

    def test_server_killed_in_the_stream(self, ctx: VirtualContext, server: PostgresServer) -> None:
        batches = iter(ctx.query("SELECT * FROM orders").to_batches())
        next(batches)
        server.crash()
        try:
            with pytest.raises(SourceUnavailable):
                list(batches)
            refused(ctx, lambda: count(ctx), SourceUnavailable, "nothing answers", table="orders")
        finally:
            server.start_again()
        assert count(ctx) == 300000

    def test_a_result_that_fails_gives_nothing(self, ctx: VirtualContext) -> None:
        sql = "SELECT CASE WHEN id = 299999 THEN note::int ELSE id END AS x FROM orders"
        refused(ctx, lambda: ctx.query(sql).to_arrow(), ExecutionError, "could not be converted", table="orders")
        assert count(ctx) == 300000


@pytest.mark.postgres
class TestChangedColumns:
    @pytest.fixture(autouse=True)
    def restore(self, server: PostgresServer) -> Iterator[None]:
        yield
        server.execute(f"ALTER TABLE {PHYSICAL} ALTER amount TYPE int USING id")

    def alter(self, server: PostgresServer, kind: str, using: str) -> None:
        server.execute(f"ALTER TABLE {PHYSICAL} ALTER amount TYPE {kind} USING {using}")

    @pytest.mark.parametrize(
        ("kind", "using", "expected"),
        [("float4", "0.5", 0.5), ("bigint", "5000000000", 5000000000), ("text", "'t'", "t"), ("boolean", "true", True)],
    )
    @pytest.mark.parametrize(
        "sql", ["SELECT amount FROM orders WHERE id = 7", "SELECT max(amount) AS amount FROM orders"]
    )
    def test_undeclared_types_follow(
        self, ctx: VirtualContext, server: PostgresServer, kind: str, using: str, expected: Any, sql: str
    ) -> None:
        ctx.query("SELECT id, amount FROM orders").to_arrow()
        ctx.query(sql).rows()
        self.alter(server, kind, using)
        assert ctx.query(sql).rows() == [{"amount": expected}]
        column = ctx.query("SELECT amount FROM orders").to_arrow().column("amount")
        assert column.unique().to_pylist() == [expected]

    def test_declared_types_refuse(self, ctx: VirtualContext, server: PostgresServer) -> None:
        sql = "SELECT amount FROM declared WHERE id = 7"
        assert ctx.query(sql).rows() == [{"amount": 7}]
        self.alter(server, "float4", "0.5")
        pattern = "`declared` does not fit.*amount is declared as INTEGER, the source has FLOAT"
        refused(ctx, lambda: ctx.query(sql), SchemaMismatch, pattern, table="declared")
        self.alter(server, "bigint", "5000000000")
        refused(ctx, lambda: ctx.query(sql).rows(), ExecutionError, "range", table="declared")
        refused(ctx, lambda: ctx.query("SELECT amount FROM declared").to_arrow(), ExecutionError, ".", table="declared")
        self.alter(server, "int", "id")
        assert ctx.query(sql).rows() == [{"amount": 7}]

    def test_a_table_first_seen_after_the_change(self, ctx: VirtualContext, server: PostgresServer) -> None:
        """The engine knows the physical table from another virtual one, as it was before."""
        ctx.query("SELECT amount FROM orders WHERE id = 7").rows()
        self.alter(server, "float4", "0.5")
        refused(ctx, lambda: ctx.query("SELECT amount FROM declared"), SchemaMismatch, "FLOAT", table="declared")

    @pytest.mark.parametrize("sql", ["SELECT amount FROM orders WHERE id = 7", "SELECT id, amount FROM orders"])
    def test_changed_between_plan_and_run(self, ctx: VirtualContext, server: PostgresServer, sql: str) -> None:
        plan = ctx.plan(sql)
        self.alter(server, "float4", "1.5")
        refused(ctx, lambda: ctx.run(plan), SchemaMismatch, "columns of `orders` changed", table="orders")
        assert ctx.run(ctx.plan("SELECT amount FROM orders WHERE id = 7")).rows() == [{"amount": 1.5}]

    def test_dropped_and_back(self, ctx: VirtualContext, server: PostgresServer) -> None:
        assert count(ctx) == 300000
        server.execute(f"ALTER TABLE {PHYSICAL} RENAME TO elsewhere")
        try:
            refused(ctx, lambda: count(ctx), UnknownTable, "the source has no such table", table="orders")
        finally:
            server.execute(f"ALTER TABLE elsewhere RENAME TO {PHYSICAL}")
        assert count(ctx) == 300000


CHILD = """
import json, sys, time
from tauro_nb import VirtualContext
from tauro_nb.errors import QueryCancelled

ctx = VirtualContext(json.loads(sys.argv[1]))
ctx.query("SELECT id FROM orders LIMIT 1").rows(), ctx.query("SELECT a FROM numbers LIMIT 1").rows()
print("ready", flush=True)
answer = None
try:
    answer = ctx.query(sys.argv[2]).rows()
except QueryCancelled as error:
    message = str(error)
ended = time.time()
statuses = [log.status for log in ctx.audit_logs()][2:]
following = ctx.query("SELECT count(*) AS n FROM orders").rows()[0]["n"]
print(json.dumps({"answer": answer, "message": message, "statuses": statuses, "ended": ended, "following": following}))
"""


@pytest.mark.postgres
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) AS n FROM orders a, orders b WHERE a.id < b.id",
        "SELECT sum(a.a * b.a) AS n FROM generate_series(1, 200000) a(a), generate_series(1, 200000) b(a), numbers n",
    ],
    ids=["in PostgreSQL", "in DuckDB"],
)
def test_ctrl_c(folder: Path, server: PostgresServer, root: Path, sql: str) -> None:
    config = json.dumps(configuration(folder, server.uri()))
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, config, sql],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=root,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(1.5)
        sent = time.time()
        child.send_signal(signal.SIGINT)
        output = child.communicate(timeout=60)[0]
    assert child.returncode == 0, output
    told = json.loads(output.splitlines()[-1])
    assert told["answer"] is None
    assert re.search("interrupted", told["message"])
    assert told["statuses"] == ["CANCELLED"]
    assert told["ended"] - sent < 5
    assert told["following"] == 300000
    with psycopg.connect(server.uri()) as connection:
        running = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND application_name LIKE 'tauro_nb%'"
        ).fetchone()
    assert running == (0,)
