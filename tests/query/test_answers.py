"""Same answer, same column names, same types as plain DuckDB over the same rows."""
# ruff: noqa: E501 - one query a line

from __future__ import annotations

import duckdb
import psycopg
import pytest

from tauro_nb import VirtualContext

QUERIES = {
    "star": "SELECT * FROM people ORDER BY id",
    "unnamed columns": "SELECT count(*), max(id) + 1, (SELECT max(amount) FROM orders) FROM people",
    "exclude and replace": "SELECT * EXCLUDE (born) REPLACE (upper(name) AS name) FROM people ORDER BY id",
    "from first": "FROM people SELECT name WHERE id > 1 ORDER BY ALL",
    "federated join": "SELECT p.name, sum(o.amount) s FROM people p JOIN orders o ON o.person_id = p.id GROUP BY 1 ORDER BY 1",
    "left join with condition": "SELECT p.id, o.id FROM people p LEFT JOIN orders o ON o.person_id = p.id AND o.amount > 40 AND p.id < 3 ORDER BY ALL",
    "filter on the null side": "SELECT p.id, o.id FROM people p LEFT JOIN orders o ON o.person_id = p.id WHERE o.amount > 40 OR o.id IS NULL ORDER BY ALL",
    "is null on the null side": "SELECT p.id FROM people p LEFT JOIN orders o ON o.person_id = p.id + 3 WHERE o.id IS NULL ORDER BY ALL",
    "right join": "SELECT p.id, o.id FROM people p RIGHT JOIN orders o ON o.person_id = p.id WHERE o.id < 6 ORDER BY ALL",
    "full join": "SELECT p.id, o.id FROM people p FULL JOIN orders o ON o.person_id = p.id AND o.id < 7 WHERE p.id IS NULL OR p.id > 2 ORDER BY ALL",
    "asof join": "SELECT o.id, c.id FROM orders o ASOF JOIN clicks c ON o.person_id = c.person_id AND o.id >= c.id WHERE c.page = '/p1' ORDER BY ALL",
    "semi and anti": "SELECT id FROM people SEMI JOIN orders ON orders.person_id = people.id ANTI JOIN clicks ON clicks.person_id = people.id + 2 ORDER BY 1",
    "natural join": "SELECT count(*) FROM orders NATURAL JOIN clicks",
    "using": "SELECT id, page FROM orders JOIN clicks USING (id) WHERE id < 4 ORDER BY ALL",
    "or over relations": "SELECT p.id, o.id FROM people p, orders o WHERE (p.department = 'Sales' AND o.person_id = 1) OR (p.department = 'Legal' AND o.person_id = 2) ORDER BY ALL",
    "exists": "SELECT name FROM people p WHERE EXISTS (FROM orders o WHERE o.person_id = p.id AND o.amount > 45) ORDER BY 1",
    "correlated scalar": "SELECT p.id, (SELECT count(*) FROM orders o WHERE o.person_id = p.id) n FROM people p ORDER BY 1",
    "not in with null": "SELECT id FROM people WHERE name NOT IN (SELECT name FROM people WHERE id = 1) ORDER BY 1",
    "union": "SELECT id FROM people UNION SELECT person_id FROM orders ORDER BY 1",
    "except all": "SELECT person_id FROM orders EXCEPT ALL SELECT person_id FROM clicks ORDER BY 1",
    "cte shadowing a table": "WITH people AS (SELECT 7 AS id) SELECT id FROM people",
    "cte reading what it shadows": "WITH people AS (SELECT id FROM people WHERE id > 2) SELECT count(*) FROM people",
    "cte named like a fragment": "WITH f0 AS (SELECT 99 AS id) SELECT (SELECT id FROM f0), count(*) FROM people WHERE id > 1",
    "recursive": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 4) SELECT sum(n) FROM r JOIN people ON id = n",
    "window and qualify": "SELECT id, row_number() OVER (PARTITION BY person_id ORDER BY id DESC) r FROM orders QUALIFY r = 1 ORDER BY id",
    "pivot": "FROM (PIVOT (SELECT department, id FROM people) ON department IN ('Sales', 'Legal') USING count(*)) ORDER BY ALL",
    "dynamic pivot": "FROM (PIVOT (SELECT page, part FROM clicks) ON page USING count(*) GROUP BY part) ORDER BY part",
    "unnest": "SELECT unnest([id, id * 10]) u FROM people ORDER BY 1",
    "lambda": "SELECT list_transform([id], x -> x + 1) l FROM people ORDER BY id",
    "alias in where": "SELECT id * 2 AS twice FROM people WHERE twice > 4 ORDER BY 1",
    "alias like a column": "SELECT name AS email, count(*) FROM people GROUP BY email, name ORDER BY ALL",
    "group by all": "SELECT department, count(*) FROM people GROUP BY ALL ORDER BY ALL",
    "grouping sets": "SELECT department, id > 2 AS late, count(*) FROM people GROUP BY ROLLUP (1, 2) ORDER BY ALL",
    "distinct on": "SELECT DISTINCT ON (person_id) person_id, id FROM orders ORDER BY person_id, id DESC",
    "limit and offset": "SELECT id FROM orders ORDER BY id LIMIT 3 OFFSET 5",
    "nulls first": "SELECT id, name FROM people ORDER BY name NULLS FIRST, id",
    "case-insensitive column": 'SELECT ID, "NAME" FROM PEOPLE ORDER BY iD',
    "text equality is exact": "SELECT id FROM people WHERE email = 'ANA@example.com'",
    "quotes": "SELECT id FROM people WHERE email = 'd''or@example.com'",
    "date arithmetic": "SELECT count(*) FROM orders WHERE day >= DATE '2024-02-01' - INTERVAL 10 DAY",
    "date of another source": "SELECT id, born FROM people WHERE born < DATE '1999-01-01' ORDER BY id",
    "integer division": "SELECT id / 2, id // 2, -id % 3 FROM people ORDER BY id",
    "view": "SELECT * FROM spending WHERE total > 100 ORDER BY name",
    "view twice": "SELECT a.name FROM spending a JOIN spending b ON a.total >= b.total GROUP BY 1 ORDER BY 1",
    "repeated names": "SELECT a.id, b.id FROM people a JOIN people b ON a.id = b.id ORDER BY 1",
    "partition column": "SELECT part, count(*) FROM clicks WHERE part = 1 GROUP BY 1",
    "columns named by their places": "SELECT a, email FROM people AS p(a, b) WHERE b <> 'x' ORDER BY 1",
    "columns that change their names": "SELECT id FROM orders AS o(person_id, id) WHERE person_id < 9 ORDER BY 1",
    "named by their places in a join": "SELECT p.id, x.b FROM people p JOIN orders x(a, b) ON x.b = p.id WHERE x.a < 9 ORDER BY ALL",
    "named by their places in a subquery": "SELECT id FROM people p WHERE EXISTS (FROM clicks c(k, who) WHERE c.who = p.id AND c.k > 50) ORDER BY 1",
    "no column of those named": "SELECT count(*) FROM people AS p(a, b)",
    "columns of a view named by their places": "SELECT who FROM spending s(who) WHERE total > 100 ORDER BY 1",
    "sides in parentheses": "(SELECT id FROM people ORDER BY id LIMIT 2) UNION ALL (SELECT id FROM people ORDER BY id DESC LIMIT 1) ORDER BY 1",
    "a whole row counted": "SELECT count(p), count(p.email) FROM people AS p",
    "a whole row of a cte": "WITH p AS (SELECT id, name FROM people) SELECT p FROM p ORDER BY p.id",
    "a whole row with a null": "SELECT id FROM people AS p WHERE p IS NOT NULL ORDER BY 1",
    "no table": "SELECT 1 AS one, 'x' || 'y'",
    "values": "VALUES (1, 'a'), (2, NULL)",
    "table function": "SELECT sum(range) FROM range(10)",
    "struct of a row": "SELECT people FROM people ORDER BY id",
    "columns": "SELECT COLUMNS('^(id|name)$') FROM people ORDER BY id",
    "sample keeps all": "SELECT count(*) FROM people TABLESAMPLE 100%",
    "positional join": "SELECT count(*) FROM people POSITIONAL JOIN orders",
    "lateral": "SELECT p.id, l.n FROM people p, LATERAL (SELECT count(*) n FROM orders o WHERE o.person_id = p.id) l ORDER BY 1",
    "nested subqueries": "SELECT * FROM (SELECT id, name FROM (SELECT * FROM people WHERE id < 4) WHERE id > 1) ORDER BY 1",
}


@pytest.mark.parametrize("name", QUERIES)
def test_answer_is_that_of_plain_duckdb(admin: VirtualContext, plain: duckdb.DuckDBPyConnection, name: str) -> None:
    sql = QUERIES[name]
    want = plain.execute(sql).to_arrow_table()
    got = admin.query(sql).to_arrow()
    assert [column.to_pylist() for column in got.columns] == [column.to_pylist() for column in want.columns]
    assert got.schema.types == want.schema.types
    assert got.column_names == plain.execute(sql).df().columns.tolist()


@pytest.mark.parametrize("limit", [0, 1, 3, 100])
@pytest.mark.parametrize(
    "sql", ["SELECT id FROM orders ORDER BY id", "SELECT id FROM orders ORDER BY id LIMIT 2", "VALUES (1), (2)"]
)
def test_limit_cuts_whatever_the_query_says(
    admin: VirtualContext, plain: duckdb.DuckDBPyConnection, sql: str, limit: int
) -> None:
    want = plain.execute(f"SELECT * FROM ({sql}) LIMIT {limit}").fetchall()
    assert [tuple(row.values()) for row in admin.query(sql, limit=limit).rows()] == want


def test_parameters_are_values(admin: VirtualContext) -> None:
    text = "x' OR '1'='1"
    assert admin.query("SELECT :text AS t, count(*) AS n FROM people WHERE name = :text", {"text": text}).rows() == [
        {"t": text, "n": 0}
    ]
    assert admin.query("SELECT id FROM people WHERE id = ? OR id = $2 ORDER BY 1", [1, 3]).rows() == [
        {"id": 1},
        {"id": 3},
    ]


def test_result_streams_once_and_keeps_once(admin: VirtualContext) -> None:
    result = admin.query("SELECT id FROM people ORDER BY id")
    assert result.to_batches().read_all().num_rows == 4
    with pytest.raises(ValueError, match="already streamed"):
        result.to_arrow()
    kept = admin.query("SELECT id FROM people ORDER BY id")
    assert len(kept) == 4
    assert kept.to_arrow() is kept.to_arrow()
    assert kept.to_batches().read_all().equals(kept.to_arrow())
    assert duckdb.from_arrow(kept).fetchall() == [(1,), (2,), (3,), (4,)]


def test_result_says_how_much_it_shows(admin: VirtualContext) -> None:
    assert repr(admin.query("SELECT * FROM range(1234)")).endswith("showing 10 of 1,234 rows")
    assert repr(admin.query("SELECT 1 AS a")) == "a\n-\n1\n1 row"
    assert "showing 10 of 1,234 rows" in admin.query("SELECT * FROM range(1234)")._repr_html_()


@pytest.mark.postgres
@pytest.mark.parametrize("order", ["", "NULLS FIRST", "NULLS LAST", "DESC NULLS FIRST", "DESC NULLS LAST"])
@pytest.mark.parametrize("cut", ["LIMIT 3", "LIMIT 3 OFFSET 20", "LIMIT 30"])
def test_first_rows_of_a_scanned_table(fresh_postgres_database: str, order: str, cut: str) -> None:
    """DuckDB's top-n pushes a wrong filter into the PostgreSQL scanner when NULLs come first."""
    values = [None] * 4 + [number % 5 for number in range(60)]
    with psycopg.connect(fresh_postgres_database, autocommit=True) as server:
        server.execute("CREATE TABLE n (b integer)")
        with server.cursor() as cursor:
            cursor.executemany("INSERT INTO n VALUES (%s)", [(value,) for value in values])
    config = {
        "connections": {"pg": {"type": "postgresql", "uri": fresh_postgres_database}},
        "virtual_tables": {"n": {"connection": "pg", "connector_type": "postgresql", "table": "n"}},
    }
    sql = f"SELECT b, upper('x') AS u FROM n ORDER BY b {order} {cut}"
    with VirtualContext(config) as ctx, duckdb.connect() as plain:
        plain.execute("CREATE TABLE n AS SELECT unnest(?::INTEGER[]) AS b", [values])
        assert [tuple(row.values()) for row in ctx.query(sql).rows()] == plain.execute(sql).fetchall()


@pytest.mark.postgres
@pytest.mark.parametrize(
    "condition",
    ["a", "NOT a", "a AND b > 1", "b < 3 OR a IS NOT DISTINCT FROM 2", "a IS DISTINCT FROM NULL", "NOT (a = 1)"],
)
def test_what_duckdb_takes_for_a_condition(fresh_postgres_database: str, condition: str) -> None:
    """Numbers as conditions, and comparisons that the scanner's filters do not know."""
    rows = "VALUES (0, 1), (1, 2), (2, 3), (NULL, 4)"
    with psycopg.connect(fresh_postgres_database, autocommit=True) as server:
        server.execute(f"CREATE TABLE n AS SELECT * FROM ({rows}) AS v(a, b)")  # type: ignore[arg-type]
    config = {
        "connections": {"pg": {"type": "postgresql", "uri": fresh_postgres_database}},
        "virtual_tables": {"n": {"connection": "pg", "connector_type": "postgresql", "table": "n"}},
    }
    sql = f"SELECT b FROM n WHERE {condition} ORDER BY b"
    with VirtualContext(config) as ctx, duckdb.connect() as plain:
        plain.execute(f"CREATE TABLE n AS FROM ({rows}) AS v(a, b)")
        assert [tuple(row.values()) for row in ctx.query(sql).rows()] == plain.execute(sql).fetchall()


def test_moments_that_python_cannot_hold_do_not_stop_the_others(admin: VirtualContext) -> None:
    result = admin.query("SELECT TIMESTAMP '290000-01-01 00:00:00' AS t, DATE '2024-01-01' AS d")
    assert "out of range" in repr(result)
    assert "out of range" in result._repr_html_()


def test_a_plan_with_fetch_first_is_shown(admin: VirtualContext) -> None:
    analyst = admin.as_principal("ana", roles=["analyst"])
    result = analyst.query("SELECT id FROM people ORDER BY id FETCH FIRST 1 ROWS ONLY")
    assert result.rows() == [{"id": 1}]
    assert "LIMIT 1" in str(result.plan)
