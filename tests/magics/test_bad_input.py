"""Whatever is typed: one clear error, nothing returned, an audit record, and the next query works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tauro_nb import errors
from tauro_nb.context import VirtualContext

Run = Callable[[str], Any]

CASES: list[tuple[str, type[errors.TauroError], str]] = [
    ("SELECT * FROM custmers", errors.UnknownTable, "Did you mean `customers`?"),
    ("SELECT emial FROM customers", errors.BindError, "unknown column `emial`. Did you mean `email`?"),
    ("SELECT nofunc(name) FROM customers", errors.BindError, "nofunc"),
    ("SELECT 1; SELECT 2", errors.UnsupportedStatement, "2 statements"),
    ("DROP TABLE customers", errors.UnsupportedStatement, "DROP"),
    ("CREATE TABLE t (a INT)", errors.UnsupportedStatement, "CREATE"),
    ("INSERT INTO customers VALUES (1)", errors.UnsupportedStatement, "INSERT"),
    ("UPDATE customers SET name = ''", errors.UnsupportedStatement, "UPDATE"),
    ("DELETE FROM customers", errors.UnsupportedStatement, "DELETE"),
    ("COPY customers TO 'x.csv'", errors.UnsupportedStatement, "COPY"),
    ("ATTACH 'x.db'", errors.UnsupportedStatement, "ATTACH"),
    ("PRAGMA database_list", errors.UnsupportedStatement, "PRAGMA"),
    ("SET memory_limit = '1GB'", errors.UnsupportedStatement, "SET"),
    ("INSTALL httpfs", errors.UnsupportedStatement, "INSTALL"),
    ("SHOW TABLES", errors.UnsupportedStatement, "%vcatalog"),
    ("SELECT * FROM read_csv('/etc/passwd')", errors.BindError, "table function `read_csv` is not available here"),
    ("SELECT * FROM '/etc/passwd'", errors.UnknownTable, "no table"),
    ("SELECT * FROM query('SELECT 1')", errors.BindError, "table function `query` is not available here"),
    ("SELECT * FROM query_table('customers')", errors.BindError, "query_table"),
    ("SELECT * FROM duckdb_settings()", errors.BindError, "duckdb_settings"),
    ("SELECT getenv('HOME')", errors.BindError, "getenv"),
    ("SELECT 1 WHERE 'x' = :regoin", errors.UnboundParameter, "`:regoin` has no value. Did you mean `region`?"),
    ("SELECT credit_limit FROM customers", errors.AccessDenied, "credit_limit"),
    ("SELECT * FROM tickets", errors.AccessDenied, "tickets"),
    ("SELECT FROM WHERE", errors.ParseError, "syntax error"),
    ("SELECT 'open", errors.ParseError, "unterminated"),
    ("", errors.ParseError, "the query is empty"),
    ("-- nothing", errors.ParseError, "the query is empty"),
    ("SELECT CAST(name AS INTEGER) FROM customers", errors.ExecutionError, "nothing was returned"),
    ("SELECT * FROM customers WHERE region = :frame", errors.BindError, "DataFrame"),
]


@pytest.mark.parametrize(("sql", "kind", "says"), CASES, ids=[sql or "empty" for sql, _, _ in CASES])
def test_one_error_one_record_and_on(
    ana: Run, layer: VirtualContext, sql: str, kind: type[errors.TauroError], says: str
) -> None:
    ana("import pandas\nregion = 'South'\nframe = pandas.DataFrame({'a': [1]})")
    before = len(layer.audit_logs())
    done = ana(f"%%vquery out\n{sql}\n")
    assert type(done.error) is kind
    assert says in str(done.error)
    assert "out" not in ana("dir()").result
    (record,) = layer.audit_logs()[before:]
    assert (record.principal, record.row_count) == ("ana", 0)
    assert record.status == ("DENIED" if kind is errors.AccessDenied else "FAILED")
    assert record.denial_reason
    assert ana("%vquery SELECT count(*) AS n FROM customers").result.rows() == [{"n": 981}]


@pytest.mark.parametrize(("sql", "kind"), [case[:2] for case in CASES], ids=[sql or "empty" for sql, _, _ in CASES])
def test_the_traceback_has_no_python_in_it(ana: Run, sql: str, kind: type[errors.TauroError]) -> None:
    ana("frame = object()")
    error = ana(f"%%vquery\n{sql}\n").error
    shown = "\n".join(error._render_traceback_())
    assert shown.startswith(f"{kind.__name__}: ")
    assert "Traceback" not in shown
    assert ".py" not in shown
    assert "Error Error" not in shown
    assert "\n" not in str(error)
