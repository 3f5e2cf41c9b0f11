"""Row filters: parsing, binding, and a principal's values as typed literals."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from tauro_nb.errors import AccessDenied, PolicyError
from tauro_nb.security import FieldSecurityPolicy, Principal, SecurityEnforcer, TableSecurityPolicy
from tauro_nb.security.binding import bind_filter, converts
from tauro_nb.security.relations import Scope
from tauro_nb.security.sandbox import Sandbox
from tauro_nb.security.template import parse_filter

SANDBOX = Sandbox()
COLUMNS = {
    "manager_id": "INTEGER",
    "Department": "VARCHAR",
    "region": "VARCHAR",
    "salary": "DECIMAL(10,2)",
    "signup_date": "DATE",
    "seen_at": "TIMESTAMP",
    "owner": "UUID",
    "active": "BOOLEAN",
}

SCOPE = Scope("staff", COLUMNS, {})


def bound(text: str, principal: Principal | None = None) -> str:
    template = parse_filter(text, "the filter")
    found = bind_filter(template, SCOPE, "the filter", SANDBOX)
    return found.for_principal(principal or Principal("42")).sql("duckdb")


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("department = 'Sales'", "(\"Department\" = 'Sales')"),
        ("staff.department = 'Sales'", "(\"Department\" = 'Sales')"),
        ("`department` = 'Sales'", "(\"Department\" = 'Sales')"),
        ("region IN ('North', 'South')", "(\"region\" IN ('North', 'South'))"),
        ("salary < 100000", '("salary" < 100000)'),
        (
            "signup_date >= DATE_SUB(NOW(), INTERVAL 1 YEAR)",
            "(\"signup_date\" >= (NOW() - INTERVAL '1' YEAR))",
        ),
        ("`region` <> 'a' AND LENGTH(region) > 5", '("region" <> \'a\' AND STRLEN("region") > 5)'),
        ("region ~ '^N'", "(REGEXP_MATCHES(\"region\", '^N'))"),
        ("region::INTEGER = 5", '(TRY_CAST("region" AS INT) = 5)'),
        ("region::BOOLEAN", '(TRY_CAST("region" AS BOOLEAN))'),
        ("region = 'a' -- it's {principal}", "(\"region\" = 'a')"),
        ("region = 'a' /* {principal} ' */", "(\"region\" = 'a')"),
        ("manager_id = {principal}", '("manager_id" = 42)'),
        ("manager_id = '{principal}'", '("manager_id" = 42)'),
        ("{principal} = manager_id", '(42 = "manager_id")'),
        ("manager_id BETWEEN 1 AND {principal}", '("manager_id" BETWEEN 1 AND 42)'),
        ("manager_id IN (1, {principal})", '("manager_id" IN (1, 42))'),
        ("region = {principal}", "(\"region\" = '42')"),
        ("region LIKE {principal} || '%'", "(\"region\" LIKE '42' || '%')"),
        ("lower({principal}) = region", "(LOWER(CAST('42' AS TEXT)) = \"region\")"),
    ],
)
def test_filters_become_trees(text: str, sql: str) -> None:
    assert bound(text) == sql


def test_a_filter_that_begins_like_a_statement_is_a_condition(caplog: pytest.LogCaptureFixture) -> None:
    assert bound("REPLACE(region, 'N', 'n') = 'north'") == "(REPLACE(\"region\", 'N', 'n') = 'north')"
    assert caplog.text == "", "the text of a policy"


@pytest.mark.parametrize(
    "text",
    [
        "getenv('HOME') = region",
        "current_setting('x') = region",
        "region = (SELECT 'x')",
        "EXISTS (SELECT 1)",
        "region IN (SELECT 'x')",
        "sum(salary) > 1",
        "row_number() OVER () = 1",
        "random() > 0.5",
        "region = 'a'; DROP TABLE x",
        "SELECT 1",
        "region = 'a' AS x",
        "region = ?",
        "region = $1",
        "region = :x",
        "*",
        "list_contains(list_transform([1], x -> x), 1)",
        "query('select 1') = 1",
        "read_text('/etc/passwd') = region",
        "region IN other",
        "/*! 1=1 OR */ region = 'a'",
        "region = 'dear {principal}'",
        "region = '{principal}''s'",
        "region = $$ {principal} $$",
        'region = "{principal}"',
        "region = `{principal}`",
        "{principal} {principal} = region",
        "region = {principal}.x",
        "{principal}(region)",
        "region = E'{principal}'",
        "region = {principal!r}",
        "region = {principal.a.b}",
        "region = {principal[0]}",
        "region = {other}",
        "region = {",
        "region = 'a",
        "(region = 'a'",
        "region = __tauro_principal_0__",
        "region = 'a' # {principal}",
    ],
)
def test_what_a_filter_may_not_be(text: str) -> None:
    with pytest.raises(PolicyError):
        bound(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("departmnt = 'Sales'", "Did you mean `Department`"),
        # Read as MySQL, this would compare two strings and let every row through.
        ("\"departmnt\" <> 'Sales'", "Did you mean `Department`"),
        ("region", "must be true or false, this one is VARCHAR"),
        ("manager_id + 1", "must be true or false, this one is INTEGER"),
        ("manager_id", "must be true or false"),
        ("region < 5", "types do not fit"),
        ("manager_id = 'Sales'", "does not convert"),
        ("signup_date > '2024-13-01'", "does not convert"),
        ("lowr(region) = 'north'", "Did you mean `LOWER`"),
        ("other.region = 'x'", "not a column of this table"),
    ],
)
def test_filters_that_do_not_bind(text: str, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        bound(text)


def test_errors_keep_the_policy_text_to_themselves() -> None:
    for text in ("region = 'TOPSECRET' AND", "region < 5 AND region = 'TOPSECRET'", "TOPSECRET('x') + 1"):
        with pytest.raises(PolicyError) as caught:
            bound(text)
        assert "'TOPSECRET'" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


ATTRIBUTES = {
    "regions": ["EU", 5],
    "nobody": [],
    "day": date(2024, 1, 1),
    "moment": datetime(2024, 1, 1, 3),  # noqa: DTZ001
    "limit": Decimal("1.50"),
    "n": 7,
    "yes": True,
    "owner": "6F9619FF-8B86-D011-B42D-00C04FC964FF",
}


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("region IN {principal.regions}", "(\"region\" IN ('EU', '5'))"),
        ("region IN ('US', {principal.regions})", "(\"region\" IN ('US', 'EU', '5'))"),
        ("manager_id IN ({principal.regions})", '("manager_id" IN (5))'),
        ("region IN {principal.nobody}", "(CAST(NULL AS BOOLEAN))"),
        ("region NOT IN {principal.nobody}", "(NOT CAST(NULL AS BOOLEAN))"),
        ("signup_date >= {principal.day}", "(\"signup_date\" >= CAST('2024-01-01' AS DATE))"),
        ("seen_at >= {principal.day}", "(\"seen_at\" >= CAST('2024-01-01' AS TIMESTAMP))"),
        ("signup_date >= {principal.moment}", "(CAST(NULL AS BOOLEAN))"),
        ("salary < {principal.limit}", "(\"salary\" < CAST('1.50' AS DECIMAL(10, 2)))"),
        ("manager_id = {principal.n}", '("manager_id" = 7)'),
        ("manager_id = {principal.limit}", "(CAST(NULL AS BOOLEAN))"),
        ("active = {principal.yes}", "(\"active\" = CAST('true' AS BOOLEAN))"),
        ("owner = {principal.owner}", "(\"owner\" = CAST('6F9619FF-8B86-D011-B42D-00C04FC964FF' AS UUID))"),
    ],
)
def test_attributes_are_typed_literals(text: str, sql: str) -> None:
    assert bound(text, Principal("ana", attributes=ATTRIBUTES)) == sql


@pytest.mark.parametrize(
    "name", ["john.doe", "41.6", "042", " 42", "4e1", "42x", "99999999999999", "0x2a", "\u0664\u0662"]
)
def test_a_name_that_is_not_the_columns_type_matches_nothing(name: str) -> None:
    for text in (
        "manager_id = {principal}",
        "manager_id <> {principal}",
        "manager_id IS NOT DISTINCT FROM {principal}",
        "manager_id IS DISTINCT FROM {principal}",
        "manager_id = '{principal}'::INTEGER",
        "manager_id IN ({principal})",
        "manager_id IN (('{principal}'::INTEGER))",
        "NOT (manager_id < {principal})",
    ):
        tree = bound(text, Principal(name))
        data = duckdb.sql(f'SELECT manager_id FROM (VALUES (42), (NULL), (0)) t("manager_id") WHERE {tree}').fetchall()
        assert data == [], (text, tree)


def test_one_comparison_fails_and_the_others_still_count() -> None:
    assert bound("manager_id = {principal} OR active", Principal("x")) == '(CAST(NULL AS BOOLEAN) OR "active")'


@pytest.mark.parametrize("attribute", ["region", "__class__", "name"])
def test_a_missing_attribute_is_named(attribute: str) -> None:
    with pytest.raises(AccessDenied, match=f"no attribute `{attribute}`"):
        bound(f"region = {{principal.{attribute}}}", Principal("ana", attributes={"region2": "x", "region": None}))


def test_a_list_needs_in() -> None:
    with pytest.raises(AccessDenied, match="behind IN"):
        bound("region = {principal.regions}", Principal("ana", attributes=ATTRIBUTES))


NASTY = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("'\"\\`;-/*{}\n\r\t\x00%$:?"), max_size=40)
TEMPLATES = [
    "region = {principal.x} OR department = 'a'",
    "region = '{principal.x}'",
    "region IN ('q', {principal.x}) AND lower({principal.x}) = region",
    "region LIKE {principal.x} || '%'",
]


def shape(tree: exp.Expr) -> list[str]:
    return [type(node).__name__ for node in tree.walk()]


@pytest.mark.parametrize("text", TEMPLATES)
@settings(max_examples=80, deadline=None)
@given(value=NASTY)
def test_no_value_changes_the_shape(text: str, value: str) -> None:
    found = bind_filter(parse_filter(text, "f"), SCOPE, "f", SANDBOX)
    plain = found.for_principal(Principal("p", attributes={"x": "plain"}))
    nasty = found.for_principal(Principal("p", attributes={"x": value}))
    assert shape(nasty) == shape(plain)
    assert value in [literal.this for literal in nasty.find_all(exp.Literal)]
    # ... nor does it when it is written as SQL and read again.
    assert shape(sqlglot.parse_one(nasty.sql("duckdb"), read="duckdb")) == shape(
        sqlglot.parse_one(plain.sql("duckdb"), read="duckdb")
    )


@settings(max_examples=80, deadline=None)
@given(name=NASTY)
def test_a_name_is_a_literal_or_refused(name: str) -> None:
    try:
        who = Principal.of(name)
    except AccessDenied:
        assert not name.strip() or any(not char.isprintable() for char in name)
        return
    found = bind_filter(parse_filter("region = {principal}", "f"), SCOPE, "f", SANDBOX)
    tree = found.for_principal(who)
    rows = duckdb.execute(
        f"SELECT region FROM (VALUES (?), ('other')) t(region) WHERE {tree.sql('duckdb')}", [name]
    ).fetchall()
    assert rows == [(name,)] or name == "other"


ROW = st.fixed_dictionaries({
    "manager_id": st.none() | st.integers(-5, 50),
    "department": st.none() | st.sampled_from(["Sales", "sales", "Legal", ""]),
    "salary": st.none() | st.decimals(0, 1000, places=2),
    "signup_date": st.none() | st.dates(date(2023, 1, 1), date(2025, 1, 1)),
})  # fmt: skip
FILTERS = [
    "department = 'Sales'",
    "department <> 'Sales'",
    "department IS NULL OR manager_id > 10",
    "manager_id = {principal}",
    "NOT manager_id = {principal}",
    "salary BETWEEN 10 AND 500 AND lower(department) LIKE 's%'",
    "signup_date >= DATE '2024-01-01'",
    "manager_id IN (1, 2, {principal})",
    "COALESCE(manager_id, 42) = {principal}",
    "CASE WHEN manager_id < 5 THEN department = 'Legal' ELSE salary > 100 END",
]


@pytest.mark.parametrize("text", FILTERS)
@settings(max_examples=15, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=25))
def test_rows_are_filtered_as_a_query_is(text: str, rows: list[dict[str, Any]]) -> None:
    kinds = {"manager_id": "INTEGER", "department": "VARCHAR", "salary": "DECIMAL(10,2)", "signup_date": "DATE"}
    enforcer = SecurityEnforcer(tables={"t": kinds})
    enforcer.register_policy(TableSecurityPolicy("t", row_level_filters={"42": text}))
    con = duckdb.connect()
    con.execute(
        "CREATE TABLE t (n INTEGER, manager_id INTEGER, department VARCHAR, salary DECIMAL(10,2), signup_date DATE)"
    )
    con.executemany(
        "INSERT INTO t VALUES (?, ?, ?, ?, ?)", [[n, *(row[name] for name in kinds)] for n, row in enumerate(rows)]
    )
    where = text.replace("{principal}", "42")
    expected = [rows[n] for (n,) in con.execute(f"SELECT n FROM t WHERE {where} ORDER BY n").fetchall()]
    found = enforcer.apply_row_level_security("t", "42", rows)
    assert [id(row) for row in found] == [id(row) for row in expected]
    # The road's own way: the decision's tree in a leaf.
    tree = enforcer.decide("t", kinds, "42").row_filter
    assert tree is not None
    leaf = con.execute(f"SELECT n FROM t WHERE {tree.sql('duckdb')} ORDER BY n").fetchall()
    assert [rows[n] for (n,) in leaf] == expected


@pytest.mark.parametrize(
    ("value", "kind", "fits"),
    [
        ("42", "INTEGER", True),
        ("-3", "BIGINT", True),
        ("42", "DECIMAL(10,2)", True),
        ("1.5", "DECIMAL(10,2)", True),
        ("1.555", "DECIMAL(10,2)", False),
        ("2024-01-01", "DATE", True),
        ("2024-1-1", "DATE", False),
        ("true", "BOOLEAN", True),
        ("t", "BOOLEAN", False),
        (True, "BOOLEAN", True),
        (5, "DOUBLE", True),
        (2**53 + 1, "DOUBLE", False),
        (300, "TINYINT", False),
        ("a", "ENUM('a','b')", True),
        ("c", "ENUM('a','b')", False),
        ("x", "VARCHAR[]", False),
    ],
)
def test_values_convert_without_loss_or_not_at_all(value: object, kind: str, fits: bool) -> None:
    assert converts(value, kind, SANDBOX) is fits


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("{principal}", "ana"),
        ("'by ' || {principal}", "by ana"),
        ("{tenant} || '-' || {principal.desk}", "acme-d7"),
        ("left({principal}, 1) || '***'", "a***"),
    ],
)
def test_masks_put_values_of_whoever_asks_together(sql: str, shown: str) -> None:
    """`'a' || NULL` has no type for DuckDB while nobody asks yet."""
    enforcer = SecurityEnforcer(tables={"t": {"note": "VARCHAR"}})
    rule = FieldSecurityPolicy("note", mask="expression", mask_options={"sql": sql})
    enforcer.register_policy(TableSecurityPolicy("t", field_policies={"note": rule}))
    who = Principal("ana", attributes={"desk": "d7"}, tenant="acme")
    assert enforcer.apply_field_masking("t", who, [{"note": "raw"}]) == [{"note": shown}]


def test_a_value_that_is_not_compared_is_a_text_unless_it_is_cast() -> None:
    enforcer = SecurityEnforcer(tables={"t": {"id": "BIGINT"}})
    with pytest.raises(PolicyError, match="types do not fit"):
        enforcer.register_policy(TableSecurityPolicy("t", row_level_filters={"ana": "id + {principal.n} > 8"}))
    policy = TableSecurityPolicy("t", row_level_filters={"ana": "id + CAST({principal.n} AS BIGINT) > 8"})
    enforcer.register_policy(policy)
    who = Principal("ana", attributes={"n": 7})
    assert enforcer.apply_row_level_security("t", who, [{"id": 1}, {"id": 2}]) == [{"id": 2}]
