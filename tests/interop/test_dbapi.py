from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tauro_nb
from tauro_nb import errors
from tauro_nb.context import VirtualContext
from tauro_nb.interop import dbapi

CUSTOMERS = "SELECT customer_id, email, signup_date FROM customers ORDER BY customer_id LIMIT 5"


@pytest.fixture(scope="module")
def ctx(demo: Path) -> Iterator[VirtualContext]:
    with VirtualContext(demo, "ana") as context:
        yield context


@pytest.fixture
def connection(ctx: VirtualContext) -> dbapi.Connection:
    return tauro_nb.connect(ctx)


def test_module_globals() -> None:
    assert (dbapi.apilevel, dbapi.threadsafety, dbapi.paramstyle) == ("2.0", 1, "named")


def test_fetching(connection: dbapi.Connection) -> None:
    cursor = connection.cursor()
    assert cursor.description is None
    assert cursor.execute(CUSTOMERS) is cursor
    assert cursor.rowcount == -1
    assert cursor.fetchone() == (1, "b***1@example.com", dt.date(2023, 6, 22))
    assert len(cursor.fetchmany()) == 1
    assert len(cursor.fetchmany(size=2)) == 2
    assert len(cursor.fetchall()) == 1
    assert (cursor.fetchone(), cursor.fetchmany(3), cursor.fetchall()) == (None, [], [])
    cursor.arraysize = 4
    assert len(cursor.execute(CUSTOMERS + " ").fetchmany()) == 4
    assert [row[0] for row in connection.execute(CUSTOMERS)] == [1, 4, 6, 7, 8]


def test_description_and_type_objects(connection: dbapi.Connection) -> None:
    cursor = connection.execute("SELECT order_id, ordered_at, status, total, 'x'::BLOB AS b FROM orders LIMIT 1")
    assert cursor.description is not None
    types = {name: kind for name, kind, *_ in cursor.description}
    assert types == {
        "order_id": dbapi.NUMBER,
        "ordered_at": dbapi.DATETIME,
        "status": dbapi.STRING,
        "total": dbapi.NUMBER,
        "b": dbapi.BINARY,
    }
    assert types["status"] != dbapi.NUMBER
    assert cursor.description[3] == ("total", "DECIMAL(12,2)", None, None, 12, 2, None)
    row = cursor.fetchone()
    assert row is not None
    assert isinstance(row[3], decimal.Decimal)


def test_columns_of_one_name_are_all_there(connection: dbapi.Connection) -> None:
    assert connection.execute("SELECT 1 AS a, 2 AS a").fetchall() == [(1, 2)]


def test_parameters(connection: dbapi.Connection) -> None:
    cursor = connection.cursor()
    assert cursor.execute("SELECT :a || $b", {"a": "O'", "b": "x", "unused": object()}).fetchall() == [("O'x",)]
    assert cursor.execute("SELECT ? - ?", [5, 3]).fetchone() == (2,)
    assert cursor.execute("SELECT ? - ?", [9, 3]).fetchone() == (6,)


def test_frames(connection: dbapi.Connection) -> None:
    cursor = connection.execute(CUSTOMERS)
    assert cursor.arrow().num_rows == 5
    assert list(cursor.df()["customer_id"]) == [1, 4, 6, 7, 8]
    assert cursor.pl().height == 5
    assert len(cursor.fetchall()) == 5


def test_the_same_text_again(connection: dbapi.Connection, ctx: VirtualContext) -> None:
    def runs() -> int:
        return len(ctx.audit_logs())

    before = runs()
    cursor = connection.execute(CUSTOMERS)
    cursor.execute(CUSTOMERS)  # nothing was read: nothing to do
    assert runs() == before + 1
    cursor.fetchmany(2)
    assert len(cursor.execute(CUSTOMERS).df()) == 5  # what jupysql does to get a frame
    assert runs() == before + 1
    assert len(cursor.execute(CUSTOMERS).df()) == 5  # a frame was handed out: this one is new
    assert runs() == before + 2
    cursor.execute(CUSTOMERS).fetchone()
    assert runs() == before + 3
    assert cursor.execute(CUSTOMERS).fetchone() is not None  # rows, twice: new
    assert runs() == before + 4
    cursor.execute("SELECT :n", {"n": 1}).fetchone()
    assert cursor.execute("SELECT :n", {"n": 2}).df().iloc[0, 0] == 2


def test_other_values_are_another_query(connection: dbapi.Connection) -> None:
    cursor, typed = connection.cursor(), "SELECT :n AS n, typeof(:n) AS t"
    given: dict[str, Any] = {"n": 1}
    assert cursor.execute(typed, given).fetchall() == [(1, "INTEGER")]
    given["n"] = 2
    assert cursor.execute(typed, given).df().iloc[0, 0] == 2
    cursor.execute(typed, given).fetchone()
    cursor.execute(typed, given)
    given["n"] = 3
    assert cursor.fetchone() == (2, "INTEGER")
    for value, kind in ((1, "INTEGER"), (1.0, "DOUBLE"), (True, "BOOLEAN"), ([1], "INTEGER[]"), ([1], "INTEGER[]")):
        assert cursor.execute(typed, {"n": value}).fetchone() == (value, kind)


def test_under_other_policies_it_is_another_query(demo: Path) -> None:
    with VirtualContext(demo, "ana") as ctx:
        cursor = tauro_nb.connect(ctx).execute(CUSTOMERS)
        cursor.fetchone()
        policy = ctx.security.get_policy("customers")
        assert policy is not None
        policy.allowed_roles = ["nobody"]
        with pytest.raises(errors.AccessDenied):
            cursor.execute(CUSTOMERS)


@pytest.mark.parametrize(
    ("sql", "ours", "theirs"),
    [
        ("SELECT nope FROM customers", errors.BindError, dbapi.ProgrammingError),
        ("SELECT * FROM custmers", errors.UnknownTable, dbapi.ProgrammingError),
        ("SELEC", errors.QueryError, dbapi.DatabaseError),
        ("SELECT :x", errors.UnboundParameter, dbapi.ProgrammingError),
        ("SELECT * FROM tickets", errors.AccessDenied, dbapi.ProgrammingError),
        ("DROP TABLE customers", errors.UnsupportedStatement, dbapi.NotSupportedError),
        ("SELECT CAST(name AS INT) FROM customers", errors.ExecutionError, dbapi.DataError),
    ],
)
def test_errors_are_ours_and_theirs(
    connection: dbapi.Connection, sql: str, ours: type[Exception], theirs: type[Exception]
) -> None:
    cursor = connection.cursor()
    with pytest.raises(theirs) as caught:
        cursor.execute(sql)
    error = caught.value
    assert isinstance(error, ours)
    assert isinstance(error, connection.DatabaseError)
    assert type(error).__name__ in vars(errors)
    assert error._render_traceback_()[0].startswith(f"{type(error).__name__}: ")  # type: ignore[attr-defined]
    assert error.__cause__ is None
    assert cursor.execute("SELECT 1").fetchall() == [(1,)]


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TauroError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_meaning(kind: type[errors.TauroError]) -> None:
    error = kind(["one"]) if kind is errors.ConfigError else kind("one.", hint="Two.", sql="x", line=1, col=1)  # type: ignore[arg-type]
    with pytest.raises(dbapi.Error) as caught, dbapi._translated():
        raise error
    assert isinstance(caught.value, kind)
    assert str(caught.value) == str(error)
    assert caught.value.__dict__ == error.__dict__


def test_what_cannot_be_done(connection: dbapi.Connection) -> None:
    cursor = connection.cursor()
    with pytest.raises(dbapi.InterfaceError, match="no results to fetch"):
        cursor.fetchall()
    with pytest.raises(dbapi.NotSupportedError):
        cursor.executemany("SELECT ?", [[1]])
    cursor.setinputsizes([1])
    cursor.setoutputsize(1)
    connection.commit()
    connection.rollback()


def test_closing(ctx: VirtualContext, demo: Path) -> None:
    connection = tauro_nb.connect(ctx)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    cursor.close()
    with pytest.raises(dbapi.InterfaceError, match="the cursor is closed"):
        cursor.fetchone()
    connection.close()
    connection.close()
    with pytest.raises(dbapi.InterfaceError, match="the connection is closed"):
        connection.cursor()
    assert ctx.query("SELECT 1 AS a").rows() == [{"a": 1}]  # not ours to close
    with tauro_nb.connect(demo, "ana") as own:
        layer = own.context.layer
        own.execute("SELECT 1")
        assert not layer.idle
    assert layer.idle


def test_a_bad_catalog() -> None:
    with pytest.raises(dbapi.InterfaceError) as caught:
        tauro_nb.connect({"virtual_tables": {"t": {"qurey": "SELECT 1"}}})
    assert isinstance(caught.value, errors.ConfigError)


def test_principals(ctx: VirtualContext) -> None:
    count = "SELECT count(*) FROM customers"
    assert tauro_nb.connect(ctx).execute(count).fetchall() == [(981,)]
    assert tauro_nb.connect(ctx, "root").execute(count).fetchall() == [(2000,)]


def test_pandas_reads_from_it(connection: dbapi.Connection) -> None:
    import pandas as pd

    with pytest.warns(UserWarning, match="pandas only supports SQLAlchemy"):
        frame = pd.read_sql_query("SELECT region, count(*) AS n FROM customers GROUP BY ALL ORDER BY 1", connection)  # type: ignore[call-overload]
    assert list(frame.columns) == ["region", "n"]
    assert frame["n"].sum() == 981
