"""What a policy leaves of a table is what every query meets, whatever its shape."""

from __future__ import annotations

import pytest
from sqlglot import exp

from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied, BindError, TauroError, UnknownTable, UnsupportedStatement
from tauro_nb.query.names import RAW, leaf_kind
from tauro_nb.query.plan import whole
from tauro_nb.query.secure import BARRIER

VISIBLE_IDS = [1, 3]
SHAPES = [
    "SELECT id FROM people",
    "SELECT p.id FROM people AS p",
    "SELECT id FROM (SELECT * FROM people)",
    "WITH c AS (SELECT * FROM people) SELECT id FROM c",
    "SELECT a.id FROM people a JOIN people b USING (id)",
    "SELECT id FROM people UNION SELECT id FROM people",
    'SELECT id FROM "PEOPLE"',
    "FROM people SELECT id",
    "TABLE people",
    "SELECT id FROM (FROM people) AS people",
    "WITH RECURSIVE r AS (SELECT id FROM people UNION SELECT id FROM r) SELECT id FROM r",
    "SELECT id FROM people NATURAL JOIN (SELECT id FROM people)",
    "SELECT (SELECT p.id) AS id FROM people p",
    "SELECT id FROM people WHERE id IN (SELECT id FROM people)",
    "SELECT unnest(list(id)) AS id FROM people",
    "SELECT people.id FROM people, LATERAL (SELECT people.id AS other) l",
    "SELECT id FROM (PIVOT people ON department IN ('Sales') USING count(*) GROUP BY id)",
    "SELECT id FROM people POSITIONAL JOIN (SELECT id AS k FROM people)",
    "SELECT people.id FROM orders RIGHT JOIN people ON orders.id = -people.id",
    "SELECT id FROM people TABLESAMPLE 100%",
    "SELECT id FROM people WHERE department = department",
    "SELECT id FROM people WHERE id = 2 OR id <> 2",
    "WITH people AS (FROM people) SELECT id FROM people",
]


@pytest.mark.parametrize("sql", SHAPES)
def test_row_filter_holds_in_every_shape(analyst: VirtualContext, sql: str) -> None:
    assert sorted({row["id"] for row in analyst.query(sql).rows()}) == VISIBLE_IDS


def test_masks_are_applied_before_predicates_joins_and_sorts(analyst: VirtualContext) -> None:
    assert analyst.query("SELECT email FROM people WHERE id = 1").rows() == [{"email": "a***a@example.com"}]
    assert analyst.query("SELECT id FROM people WHERE email = 'ana@example.com'").rows() == []
    assert analyst.query("SELECT id FROM people WHERE email = 'a***a@example.com'").rows() == [{"id": 1}]
    assert analyst.query("SELECT id FROM people WHERE email LIKE 'an%'").rows() == []
    assert analyst.query("SELECT max(email) AS m FROM people").rows() == [{"m": "a***a@example.com"}]


def test_view_shows_no_more_than_its_tables(analyst: VirtualContext, admin: VirtualContext) -> None:
    assert [row["name"] for row in analyst.query("SELECT name FROM spending ORDER BY 1").rows()] == ["Ana", "Çelik"]
    assert len(admin.query("SELECT name FROM spending")) == 4


def test_denied_column_is_absent_and_named_when_asked_for(analyst: VirtualContext) -> None:
    assert "born" not in analyst.query("SELECT * FROM people").columns
    for sql in (
        "SELECT born FROM people",
        "SELECT id FROM people WHERE born IS NULL",
        "SELECT id FROM people ORDER BY born",
        "SELECT p.born FROM people p",
        "SELECT a.id FROM people a JOIN people b ON a.born = b.born",
    ):
        with pytest.raises(AccessDenied, match="`born` of `people` is denied"):
            analyst.query(sql)


def test_filter_takes_the_principal_as_a_value(admin: VirtualContext) -> None:
    own = admin.as_principal("Ana", roles=["own"])
    assert own.query("SELECT id FROM people").rows() == [{"id": 1}]
    hostile = admin.as_principal("x' OR '1'='1", roles=["own"])
    assert hostile.query("SELECT id FROM people").rows() == []


def test_no_matching_filter_is_no_access(admin: VirtualContext) -> None:
    with pytest.raises(AccessDenied):
        admin.as_principal("eve").query("SELECT id FROM people")


def test_barrier_stands_only_where_a_policy_does(analyst: VirtualContext, admin: VirtualContext) -> None:
    assert analyst.plan("SELECT id FROM people WHERE 1 / id = 0").fenced
    assert BARRIER in whole(analyst.plan("SELECT id FROM people WHERE 1 / id = 0")).fragments[0].sql
    assert not admin.plan("SELECT id FROM people WHERE 1 / id = 0").fenced


def test_only_leakproof_predicates_pass_the_barrier(analyst: VirtualContext) -> None:
    passed = analyst.plan("SELECT name FROM people WHERE id = 2").fragments[0]
    assert '"id" = 2' in passed.sql
    for kept in ("id::VARCHAR = '2'", "1 / (id - 2) > 0", "email = 'x'", "name LIKE 'A%'"):
        (fragment,) = whole(analyst.plan(f"SELECT name FROM people WHERE {kept}")).fragments
        below = [select.args["where"].sql("duckdb") for select in fragment.tree.find_all(exp.Select) if is_leaf(select)]
        assert len(below) == 1, "what stands beside the row filter, below the barrier"
        assert "department" in below[0]
        assert not any(word in below[0] for word in ('"id"', "email", "LIKE"))


def is_leaf(select: exp.Select) -> bool:
    return leaf_kind(select.args["from_"].this) == RAW


@pytest.mark.parametrize(
    "expression", ["1 // (id - 2)", "CAST(name AS INTEGER)", "name::DATE", "substring(name, 1, -9223372036854775808)"]
)
def test_hidden_rows_cannot_speak_through_errors(analyst: VirtualContext, expression: str) -> None:
    """Behind the barrier an expression meets visible rows only: it fails for them or not at all."""
    visible = analyst.query("SELECT id, name FROM people").to_arrow()
    import duckdb

    def outcome(run: object) -> str:
        try:
            run()  # type: ignore[operator]
        except (duckdb.Error, TauroError):
            return "fails"
        return "answers"

    want = outcome(lambda: duckdb.from_arrow(visible).query("v", f"SELECT {expression} FROM v").fetchall())
    got = outcome(lambda: analyst.query(f"SELECT {expression} FROM people").rows())
    assert got == want


def test_errors_carry_no_value(admin: VirtualContext) -> None:
    with pytest.raises(TauroError) as caught:
        admin.query("SELECT email::INTEGER FROM people").rows()
    assert "example.com" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT * FROM read_csv('/etc/passwd')", BindError),
        ("SELECT * FROM '/etc/passwd'", UnknownTable),
        ("SELECT * FROM read_text('/etc/passwd')", BindError),
        ("SELECT * FROM glob('/etc/*')", BindError),
        ("SELECT * FROM query('SELECT 1')", BindError),
        ("SELECT * FROM query_table('people')", BindError),
        ("SELECT * FROM duckdb_tables()", BindError),
        ("SELECT * FROM duckdb_settings()", BindError),
        ("SELECT * FROM duckdb_secrets()", BindError),
        ("SELECT * FROM information_schema.tables", UnknownTable),
        ("SELECT * FROM pg_catalog.pg_class", UnknownTable),
        ("SELECT * FROM sqlite_scan('x', 'y')", BindError),
        ("SELECT * FROM postgres_query('crm', 'SELECT 1')", BindError),
        ("SELECT * FROM json_execute_serialized_sql('x')", BindError),
        ("SELECT getenv('HOME')", BindError),
        ("SELECT current_setting('threads')", BindError),
        ("SELECT stats(id) FROM people", BindError),
        ("SELECT error('x')", BindError),
        ("SELECT current_query()", BindError),
        ("SELECT nextval('s')", BindError),
        ('SELECT * FROM "~raw".people', UnknownTable),
        ('SELECT * FROM "~visible".people', UnknownTable),
        ('SELECT * FROM "~fragment".f0', UnknownTable),
        ('SELECT * FROM "source crm".main.people', UnknownTable),
        ('SELECT * FROM temp.main."f0"', UnknownTable),
        ("SELECT * FROM (DESCRIBE people)", UnsupportedStatement),
        ("SELECT * FROM (SUMMARIZE people)", UnsupportedStatement),
        ("SUMMARIZE people", UnsupportedStatement),
        ("EXPLAIN SELECT * FROM people", UnsupportedStatement),
        ("ATTACH ':memory:' AS m", UnsupportedStatement),
        ("COPY people TO 'x.csv'", UnsupportedStatement),
        ("CREATE MACRO m() AS 1", UnsupportedStatement),
        ("SET threads = 1", UnsupportedStatement),
        ("PRAGMA database_list", UnsupportedStatement),
        ("CALL pragma_version()", UnsupportedStatement),
        ("INSERT INTO people VALUES (1)", UnsupportedStatement),
        ("UPDATE people SET id = 1", UnsupportedStatement),
        ("DELETE FROM people", UnsupportedStatement),
        ("DROP TABLE people", UnsupportedStatement),
        ("SELECT 1; SELECT 2", UnsupportedStatement),
    ],
)
def test_ways_around_are_refused(admin: VirtualContext, sql: str, error: type[TauroError]) -> None:
    before = len(admin.audit_logs())
    with pytest.raises(error):
        admin.query(sql)
    assert len(admin.audit_logs()) == before + 1
    assert admin.query("SELECT 1 AS ok").rows() == [{"ok": 1}]


def test_audit_names_the_tables_below_a_view(analyst: VirtualContext) -> None:
    before = len(analyst.audit_logs())
    analyst.query("SELECT name FROM spending").rows()
    logs = analyst.audit_logs()[before:]
    assert {log.table_name: set(log.field_names) for log in logs} == {
        "spending": {"name"},
        "people": {"id", "name"},
        "orders": {"person_id", "amount"},
    }
    assert {log.status for log in logs} == {"SUCCESS"}
    assert len({log.query_id for log in logs}) == 1


def test_query_without_tables_is_recorded(admin: VirtualContext) -> None:
    before = len(admin.audit_logs())
    admin.query("SELECT 1").rows()
    assert [log.table_name for log in admin.audit_logs()[before:]] == [""]
