"""What a server is set to, and what others made in it, changes no condition."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import ExecutionError
from tests.mariadb import MariaDBServer
from tests.servers import PostgresServer

Connection = str | Mapping[str, Any]


def seen(connection: Connection, condition: str, where: str = "", **table: Any) -> list[int]:
    """The ids that an analyst sees of the table `t` under a row filter."""
    config = {
        "connections": {"c": connection},
        "virtual_tables": {"t": {"connection": "c", "table": "t", **table}},
        "security_policies": {"t": {"row_level_filters": {"analyst": condition}}},
    }
    with VirtualContext(config).as_principal("ana", ["analyst"]) as ctx:
        return sorted(row["id"] for row in ctx.query(f"SELECT id FROM t {where}").rows())


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[str]:
    name = postgres_server.create_database()
    postgres_server.execute("CREATE TABLE t (id int, team varchar(9), note text, score int)", name)
    postgres_server.execute(r"INSERT INTO t VALUES (1, 'eng', 'a\b', 1), (2, 'ops', 'a', 2), (3, 'ENG', NULL, 3)", name)
    yield name
    postgres_server.drop_database(name)


_OPERATOR = """
    CREATE SCHEMA others;
    CREATE FUNCTION others.same(varchar, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
    CREATE FUNCTION others.same(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
    CREATE OPERATOR others.= (LEFTARG = varchar, RIGHTARG = text, FUNCTION = others.same);
    CREATE OPERATOR others.= (LEFTARG = text, RIGHTARG = text, FUNCTION = others.same);
"""


@pytest.mark.postgres
@pytest.mark.parametrize("path", ["others, pg_catalog", "public, others"])
def test_an_operator_that_somebody_made_decides_nothing(
    postgres_server: PostgresServer, database: str, path: str
) -> None:
    postgres_server.execute(_OPERATOR, database)
    postgres_server.execute(f"ALTER DATABASE {database} SET search_path = {path}", database)
    assert seen(postgres_server.uri(database), "team = 'eng'") == [1]


@pytest.mark.postgres
def test_tables_of_a_query_are_those_of_public(postgres_server: PostgresServer, database: str) -> None:
    postgres_server.execute("CREATE SCHEMA others; CREATE TABLE others.t AS SELECT 7 AS id, 'eng' AS team", database)
    postgres_server.execute(f"ALTER DATABASE {database} SET search_path = others, public", database)
    uri = postgres_server.uri(database)
    query = "WITH t AS (SELECT id, team FROM t), u AS (SELECT * FROM t) SELECT * FROM u WHERE id < 100"
    assert seen(uri, "team = 'eng'", table=None, query=query) == [1]
    assert seen(uri, "team = 'eng'", table=None, query="SELECT id, team FROM others.t") == [7]
    assert seen(uri, "id < 0", table=None, query="SELECT CAST(oid AS int) AS id FROM pg_class") == []
    own = f"{uri}?options=-csearch_path%3Dothers"
    function = "CREATE FUNCTION others.eight() RETURNS int LANGUAGE sql AS 'SELECT 8'"
    postgres_server.execute(function, database)
    assert seen(own, "id < 9", table=None, query="SELECT eight() AS id") == [8]


@pytest.mark.postgres
def test_a_backslash_is_no_escape(postgres_server: PostgresServer, database: str) -> None:
    postgres_server.execute(f"ALTER DATABASE {database} SET standard_conforming_strings = off", database)
    postgres_server.execute(f"ALTER DATABASE {database} SET backslash_quote = on", database)
    uri = postgres_server.uri(database)
    assert seen(uri, "score < 3", r"WHERE note = 'a\b'") == [1]
    assert seen(uri, "score < 3", r"WHERE note IN ('\', ' OR true) --')") == []
    assert seen(f"{uri}?options=-cstandard_conforming_strings%3Doff", r"note = 'a\b'") == [1], "an address cannot"


@pytest.mark.postgres
def test_nothing_is_equal_to_null(postgres_server: PostgresServer, database: str) -> None:
    postgres_server.execute(f"ALTER DATABASE {database} SET transform_null_equals = on", database)
    uri = postgres_server.uri(database)
    assert seen(uri, "score < 9", table=None, query="SELECT id, score FROM t WHERE note = NULL") == []


@pytest.mark.postgres
@pytest.mark.parametrize("table", [{}, {"table": None, "query": "SELECT * FROM t"}])
def test_a_collation_that_takes_texts_for_equal_is_not_asked(
    postgres_server: PostgresServer, database: str, table: dict[str, Any]
) -> None:
    # The server of the tests has no ICU, whose collations alone can be so; what its catalog says is what counts.
    postgres_server.execute("CREATE COLLATION lenient (provider = libc, locale = 'C')", database)
    postgres_server.execute('ALTER TABLE t ALTER team TYPE text COLLATE "lenient"', database)
    plans = []
    for change in ("collname = 'none'", "collname = 'lenient'"):
        postgres_server.execute(f"UPDATE pg_collation SET collisdeterministic = false WHERE {change}", database)
        config = {
            "connections": {"c": postgres_server.uri(database)},
            "virtual_tables": {"t": {"connection": "c", "table": "t", **table}},
        }
        with VirtualContext(config) as ctx:
            plan = ctx.plan("SELECT id FROM t WHERE team = 'eng'")
            plans.append("'eng'" in str(plan.fragments[0].sql))
            assert ctx.run(plan).rows() == [{"id": 1}]
    assert plans == [True, False]


_CONDITIONS = {
    "score NOT IN (0, 2)": [1, 4],
    "NOT score BETWEEN 1 AND 2": [3, 4],
    "team NOT LIKE 'e%'": [2, 3, 4],
    "NOT team = 'eng'": [2, 3, 4],
    "note IS NOT NULL": [1, 2, 4],
    "team IS DISTINCT FROM 'eng'": [2, 3, 4],
    "NOT (note IS NOT DISTINCT FROM 'x')": [1, 3, 4],
    "note = ''": [1],
    "note <> ''": [2, 4],
    "coalesce(note, '') = ''": [1, 3],
    "(score > 1) <> NOT (note = 'x')": [1, 2],
    "NOT (NOT score > 1) = NOT (NOT id > 2)": [1, 4],
}


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "mode", ["", "HIGH_NOT_PRECEDENCE", "EMPTY_STRING_IS_NULL", "ANSI_QUOTES,PIPES_AS_CONCAT,IGNORE_SPACE", "ORACLE"]
)
def test_a_condition_means_the_same_in_every_mode(
    mariadb_server: MariaDBServer, fresh_mariadb_database: str, mode: str
) -> None:
    columns = "id int, score int, team varchar(9) COLLATE utf8mb4_bin, note varchar(9)"
    rows = "(1, 1, 'eng', ''), (2, 2, 'ops', 'x'), (3, 0, 'sales', NULL), (4, 5, 'ENG', 'y')"
    name = fresh_mariadb_database.rsplit("/", 1)[1]
    mariadb_server.execute(f"CREATE TABLE t ({columns})", name)
    mariadb_server.execute(f"INSERT INTO t VALUES {rows}", name)
    filtered = {f"f{number}": {"connection": "c", "table": "t"} for number in range(len(_CONDITIONS))}
    asked = {
        f"q{number}": {"connection": "c", "query": f"SELECT * FROM t WHERE {condition}"}
        for number, condition in enumerate(_CONDITIONS)
        if "DISTINCT" not in condition
    }
    config = {
        "connections": {"c": fresh_mariadb_database},
        "virtual_tables": {"t": {"connection": "c", "table": "t"}, **filtered, **asked},
        "security_policies": {
            f"f{number}": {"row_level_filters": {"analyst": condition}} for number, condition in enumerate(_CONDITIONS)
        },
    }
    mariadb_server.execute(f"SET GLOBAL sql_mode = '{mode}'")
    try:
        with VirtualContext(config).as_principal("ana", ["analyst"]) as ctx:
            for number, (condition, expected) in enumerate(_CONDITIONS.items()):
                for sql in (f"f{number}", f"t WHERE {condition}", f"q{number}"):
                    if sql in asked or not sql.startswith("q"):
                        found = [row["id"] for row in ctx.query(f"SELECT id FROM {sql}").rows()]
                        assert sorted(found) == expected, (sql, condition)
    finally:
        mariadb_server.execute("SET GLOBAL sql_mode = DEFAULT")


@pytest.mark.mariadb
def test_no_answer_ends_where_the_server_would_have_it_end(
    mariadb_server: MariaDBServer, fresh_mariadb_database: str
) -> None:
    name = fresh_mariadb_database.rsplit("/", 1)[1]
    mariadb_server.execute("CREATE TABLE t AS SELECT seq AS id FROM seq_1_to_20", name)
    tables = {"t": {"table": "t"}, "q": {"query": "SELECT id FROM t UNION ALL SELECT id + 20 FROM t"}}
    config = {
        "connections": {"c": fresh_mariadb_database},
        "virtual_tables": {name: {"connection": "c", **table} for name, table in tables.items()},
    }
    mariadb_server.execute("SET GLOBAL sql_select_limit = 3")
    try:
        with VirtualContext(config) as ctx:
            for sql, expected in {
                "SELECT id FROM t": 20, "SELECT id FROM t WHERE hash(id) IS NOT NULL": 20, "SELECT id FROM q": 40,
                "SELECT id FROM t WHERE id > 2 ORDER BY id": 18, "SELECT id FROM t UNION SELECT -id FROM t": 40,
            }.items():  # fmt: skip
                assert ctx.query(sql).to_arrow().num_rows == expected, sql
    finally:
        mariadb_server.execute("SET GLOBAL sql_select_limit = DEFAULT")


@pytest.fixture
def loose(tmp_path: Path) -> Connection:
    """A SQLite file with columns that arrive as texts, but are none."""
    path = tmp_path / "loose.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER, code STRING, plain TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", [(1, "x", "x"), (2, "10", "10"), (3, "1e1", "1e1")])
        connection.commit()
    return {"type": "sqlite", "path": str(path)}


def test_a_text_that_sqlite_keeps_as_a_number_is_compared_by_the_engine(loose: Connection) -> None:
    # SQLite has the integer 10 in both rows, which is equal to '1e1' there; the engine cannot read them as texts.
    assert seen(loose, "plain = '1e1'") == [3]
    with pytest.raises(ExecutionError):
        seen(loose, "code = '1e1'")


def test_bytes_in_a_column_of_texts_are_no_text(loose: Connection) -> None:
    assert isinstance(loose, Mapping)
    with contextlib.closing(sqlite3.connect(loose["path"])) as connection:
        connection.execute("INSERT INTO t VALUES (4, 'y', CAST('secret' AS BLOB))")
        connection.commit()
    config = {"connections": {"c": loose}, "virtual_tables": {"t": {"connection": "c", "table": "t"}}}
    with VirtualContext(config) as ctx:
        for sql in ("SELECT plain FROM t", "SELECT plain FROM t WHERE plain <> 'secret'"):
            with pytest.raises(ExecutionError):
                ctx.query(sql)
