"""C32 to C69: column masks as Trino's tests have them, by number; what does not apply here is refused cleanly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tauro_nb import VirtualContext
from tauro_nb.errors import AccessDenied, BindError, PolicyError, TauroError, UnsupportedStatement

ORDERS = """
    SELECT i AS orderkey, i * 10 + 7 AS custkey, (i * 100)::DECIMAL(9,2) AS price,
           ['O', 'F', NULL][i % 3 + 1] AS status, 'note ' || i AS comment, {'a': i, 'b': 'deep ' || i} AS nested
    FROM range(1, 7) t(i)
"""
NATION = "SELECT i AS nationkey, 'land ' || i AS name FROM range(3) t(i)"
VIEWS = {
    "v_orders": {"query": "SELECT orderkey, custkey, comment FROM orders"},
    "V_UPPER": {"query": "SELECT custkey AS CUSTKEY, comment AS COMMENT FROM orders"},
}
Ask = Callable[..., list[dict[str, Any]]]
Masks = Mapping[str, Any]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("masks") / "m.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(f"CREATE TABLE orders AS {ORDERS}")
        con.execute(f"CREATE TABLE nation AS {NATION}")
        con.execute("CREATE SCHEMA other")
        con.execute(f"CREATE TABLE other.orders AS {ORDERS}")
    return path


def _rule(mask: Any) -> dict[str, Any]:
    """A mask's expression, or a whole rule, that holds for everybody but the owner."""
    rule = {"mask": "expression", "mask_options": {"sql": mask}} if isinstance(mask, str) else dict(mask)
    return {"allowed_roles": ["owner"], **rule}


@pytest.fixture
def world(path: Path) -> Callable[..., Any]:
    """Opens the catalog with masks on `orders`, and on whatever `others` names."""

    @contextmanager
    def opened(masks: Masks, **others: Masks) -> Iterator[VirtualContext]:
        tables = {
            "orders": {"connector_type": "duckdb", "connection": "at", "table": "orders"},
            "nation": {"connector_type": "duckdb", "connection": "at", "table": "nation"},
            "other.orders": {"connector_type": "duckdb", "connection": "at", "table": "other.orders"},
            **VIEWS,
        }
        policies = {"orders": masks, **{name.replace("__", "."): value for name, value in others.items()}}
        config = {
            "connections": {"at": {"type": "duckdb", "path": str(path)}},
            "virtual_tables": tables,
            "security_policies": {
                name: {"field_policies": {column: _rule(mask) for column, mask in rules.items()}}
                for name, rules in policies.items()
            },
        }
        with VirtualContext(config, "admin") as ctx:
            yield ctx

    return opened


@pytest.fixture
def ask(world: Callable[..., Any]) -> Ask:
    """Rows of a query under masks, as somebody whom they hold for."""

    def answer(sql: str, masks: Masks, who: str = "alice", **others: Masks) -> list[dict[str, Any]]:
        with world(masks, **others) as ctx:
            rows: list[dict[str, Any]] = ctx.as_principal(who).query(sql).rows()
            return rows

    return answer


def test_c32_a_simple_mask(ask: Ask) -> None:
    assert ask("SELECT custkey FROM orders WHERE orderkey = 1", {"custkey": "-custkey"}) == [{"custkey": -17}]
    assert ask("SELECT custkey FROM orders WHERE orderkey = 1", {"custkey": "-custkey"}, "owner") == [{"custkey": 17}]


def test_c33_null_keeps_the_type(ask: Ask) -> None:
    for mask in ("NULL", {"mask": "null"}):
        found = ask("SELECT custkey, typeof(custkey) AS t FROM orders WHERE orderkey = 1", {"custkey": mask})
        assert found == [{"custkey": None, "t": "BIGINT"}]


def test_c34_a_mask_that_looks_at_another_column(ask: Ask) -> None:
    masks = {"custkey": "CASE WHEN orderkey < 3 THEN -1 ELSE custkey END"}
    assert [row["custkey"] for row in ask("SELECT custkey FROM orders ORDER BY orderkey", masks)] == [
        -1,
        -1,
        37,
        47,
        57,
        67,
    ]
    masks = {"custkey": "IF(orderkey < 3, -1, custkey)"}
    assert [row["custkey"] for row in ask("SELECT custkey FROM orders ORDER BY orderkey", masks)][:3] == [-1, -1, 37]


def test_c35_masks_on_several_columns(ask: Ask) -> None:
    masks = {"custkey": "-custkey", "status": "NULL", "comment": "upper(comment)"}
    found = ask("SELECT custkey, status, comment, orderkey FROM orders WHERE orderkey = 2", masks)
    assert found == [{"custkey": -27, "status": None, "comment": "NOTE 2", "orderkey": 2}]


def test_c36_join_using_compares_masked_values(ask: Ask) -> None:
    masks = {"orderkey": "orderkey + 100"}
    assert ask("SELECT count(*) AS n FROM orders JOIN other.orders o USING (orderkey)", masks) == [{"n": 0}]
    both = ask("SELECT count(*) AS n FROM orders JOIN other.orders o USING (orderkey)", masks, other__orders=masks)
    assert both == [{"n": 6}]
    joined = ask("SELECT orderkey FROM orders a JOIN orders b USING (orderkey) ORDER BY 1 LIMIT 1", masks)
    assert joined == [{"orderkey": 101}]


def test_c37_a_mask_of_a_type_that_converts(ask: Ask) -> None:
    sql = "SELECT {0} AS x, typeof({0}) AS t FROM orders WHERE orderkey = 2"
    assert ask(sql.format("comment"), {"comment": "CAST('abc' AS VARCHAR(5))"}) == [{"x": "abc", "t": "VARCHAR"}]
    assert ask(sql.format("custkey"), {"custkey": "7"}) == [{"x": 7, "t": "BIGINT"}]
    found = ask(sql.format("price"), {"price": "orderkey"})
    assert [(str(row["x"]), row["t"]) for row in found] == [("2.00", "DECIMAL(9,2)")]
    assert ask(sql.format("custkey"), {"custkey": "99999999999999999999"}) == [{"x": None, "t": "BIGINT"}]


def test_c38_a_subquery_in_a_mask(ask: Ask) -> None:
    masks = {"custkey": "(SELECT max(nationkey) FROM nation)"}
    assert ask("SELECT DISTINCT custkey FROM orders", masks) == [{"custkey": 2}]


def test_c39_a_correlated_subquery(ask: Ask) -> None:
    masks = {"custkey": "(SELECT max(nationkey) FROM nation WHERE nationkey < orderkey)"}
    found = ask("SELECT custkey FROM orders ORDER BY orderkey", masks)
    assert [row["custkey"] for row in found] == [0, 1, 2, 2, 2, 2]


def test_c48_the_table_of_a_subquery_is_read_as_the_policy_s_owner(ask: Ask) -> None:
    masks = {"custkey": "(SELECT max(custkey) FROM other.orders)"}
    assert ask("SELECT DISTINCT custkey FROM orders", masks, other__orders={"custkey": "-1"}) == [{"custkey": 67}]


@pytest.mark.parametrize("table", ["orders", '"orders"', "ORDERS"])
def test_c49_to_c51_a_mask_that_reads_its_own_table(world: Callable[..., Any], table: str) -> None:
    with pytest.raises(TauroError), world({"custkey": f"(SELECT max(custkey) FROM {table})"}) as ctx:
        ctx.as_principal("alice").query("SELECT custkey FROM orders")


def test_c53_a_query_s_own_names_do_not_reach_a_mask(ask: Ask) -> None:
    masks = {"custkey": "(SELECT max(nationkey) FROM nation)"}
    sql = "WITH nation AS (SELECT 99 AS nationkey) SELECT DISTINCT custkey FROM orders"
    assert ask(sql, masks) == [{"custkey": 2}]


def test_c40_what_is_kept_of_a_query_is_masked(world: Callable[..., Any]) -> None:
    """There are no materialized views; what Ibis keeps of an expression is what its reader saw, also cast."""
    with world({"custkey": "-custkey"}) as ctx, ctx.as_principal("alice").table("orders").cache() as kept:
        assert kept.custkey.max().to_pyarrow().as_py() == -17
        assert kept.custkey.cast("string").min().to_pyarrow().as_py() == "-17"
        with pytest.raises(TauroError):
            ctx.as_principal("bob").query(kept)


VIEW = "SELECT custkey FROM v_orders WHERE orderkey = 1"


def test_c41_to_c43_a_view_is_read_with_its_readers_masks(ask: Ask) -> None:
    """There are no owners: whoever reads a view meets the masks that hold for them on the tables below."""
    masks = {"custkey": "-custkey"}
    assert ask(VIEW, masks) == [{"custkey": -17}]
    assert ask(VIEW, masks, "owner") == [{"custkey": 17}]
    assert ask(VIEW, {}) == [{"custkey": 17}]


def test_c44_a_mask_on_the_view_itself(ask: Ask) -> None:
    assert ask(VIEW, {}, v_orders={"custkey": "custkey + 1000"}) == [{"custkey": 1017}]
    assert ask(VIEW, {"custkey": "-custkey"}, v_orders={"custkey": "custkey + 1000"}) == [{"custkey": 983}]


def test_c45_columns_in_capitals(ask: Ask) -> None:
    sql = "SELECT CustKey, comment FROM v_upper ORDER BY 1 LIMIT 1"
    assert ask(sql, {"CUSTKEY": "-custkey"}) == [{"CUSTKEY": -67, "COMMENT": "note 6"}]
    assert ask(sql, {}, V_UPPER={"comment": "'x'"}) == [{"CUSTKEY": 17, "COMMENT": "x"}]


def test_c46_with(ask: Ask) -> None:
    sql = "WITH t AS (SELECT custkey FROM orders WHERE orderkey = 1) SELECT * FROM t"
    assert ask(sql, {"custkey": "-custkey"}) == [{"custkey": -17}]


def test_c47_another_schema(ask: Ask) -> None:
    """A mask names columns of its own table only; the same name elsewhere is another table."""
    sql = "SELECT a.custkey AS a, b.custkey AS b FROM orders a JOIN other.orders b USING (orderkey) WHERE orderkey = 1"
    assert ask(sql, {"custkey": "-custkey"}) == [{"a": -17, "b": 17}]
    assert ask(sql, {}, other__orders={"custkey": "-custkey"}) == [{"a": 17, "b": -17}]


def test_c52_a_mask_sees_nothing_of_the_query(world: Callable[..., Any]) -> None:
    with world({"custkey": "o.orderkey"}) as ctx:
        for sql in ("SELECT custkey FROM orders o", "SELECT (SELECT custkey FROM orders LIMIT 1) FROM orders o"):
            with pytest.raises(PolicyError, match="the policy of `orders` does not go together"):
                ctx.as_principal("alice").query(sql)


INVALID = {
    "c54": "$$$",
    "c55": "unknown_column",
    "c56": "'text'",
    "c57": "max(custkey)",
    "c58": "row_number() OVER (ORDER BY custkey)",
    "c59": "GROUPING(custkey)",
}


@pytest.mark.parametrize("number", INVALID)
def test_c54_to_c59_a_mask_that_is_wrong_closes_the_table(world: Callable[..., Any], number: str) -> None:
    """It fails when the catalog is opened, or with the first query of the table: nobody reads past it."""
    said = "custkey|the policy of `orders` does not go together"
    with pytest.raises(TauroError, match=said) as caught, world({"custkey": INVALID[number]}) as ctx:
        ctx.as_principal("alice").query("SELECT orderkey FROM orders")
    assert INVALID[number] not in str(caught.value)


def test_c60_statistics_show_masked_values_or_none(world: Callable[..., Any]) -> None:
    with world({"custkey": "7"}) as ctx:
        alice = ctx.as_principal("alice")
        sql = "SELECT min({0}) AS a, max({0}) AS b, approx_count_distinct({0}) AS n FROM orders"
        assert alice.query(sql.format("custkey")).rows() == [{"a": 7, "b": 7, "n": 1}]
        assert alice.query(sql.format("orderkey")).rows() == [{"a": 1, "b": 6, "n": 6}]
        for refused in ("SHOW STATS FOR orders", "SELECT stats(custkey) FROM orders", "SUMMARIZE orders"):
            with pytest.raises(TauroError):
                alice.query(refused)
        described = repr(alice.describe("orders"))
        assert not any(value in described for value in ("17", "27", "67"))


def test_c61_a_self_join(ask: Ask) -> None:
    sql = "SELECT count(*) AS n FROM orders a JOIN orders b ON a.custkey = b.custkey"
    assert ask(sql, {"custkey": "orderkey % 2"}) == [{"n": 18}]


def test_c62_a_mask_may_read_a_column_that_is_denied(ask: Ask, world: Callable[..., Any]) -> None:
    """Who wrote the policy may read it: the mask is theirs, not the reader's."""
    masks = {"comment": "'key ' || custkey", "custkey": {"access_level": "restricted"}}
    assert ask("SELECT comment FROM orders WHERE orderkey = 1", masks) == [{"comment": "key 17"}]
    with world(masks) as ctx, pytest.raises(AccessDenied):
        ctx.as_principal("alice").query("SELECT custkey FROM orders")


WRITES = {
    "c63": "INSERT INTO orders SELECT * FROM orders",
    "c64": "DELETE FROM orders WHERE custkey < 0",
    "c65 masked": "UPDATE orders SET custkey = 1",
    "c65 unmasked": "UPDATE orders SET status = 'X'",
    "c65 both": "UPDATE orders SET custkey = 1, status = 'X'",
    "c67": "DELETE FROM orders",
}


@pytest.mark.parametrize("number", WRITES)
@pytest.mark.parametrize("mask", ["-custkey", "custkey"])
def test_c63_to_c65_nobody_writes(ask: Ask, number: str, mask: str) -> None:
    for who in ("alice", "owner"):
        with pytest.raises(UnsupportedStatement):
            ask(WRITES[number], {"custkey": mask}, who)


@pytest.mark.parametrize("mask", ["-custkey", "CASE WHEN orderkey > 2 THEN custkey END", {"mask": "null"}])
def test_c66_a_denied_column_that_is_not_asked_for(ask: Ask, mask: Any) -> None:
    rule = {"denied_roles": ["alice"], **_rule(mask)}
    assert ask("SELECT orderkey FROM orders WHERE orderkey < 2", {"custkey": rule}) == [{"orderkey": 1}]
    assert ask("SELECT count(*) AS n FROM orders", {"custkey": rule}) == [{"n": 6}]
    with pytest.raises(AccessDenied):
        ask("SELECT orderkey FROM orders WHERE custkey = 17", {"custkey": rule})


def test_c67_columns_that_are_not_there_for_the_reader(ask: Ask) -> None:
    masks = {"custkey": "-custkey", "nested": {"access_level": "restricted"}, "price": {"access_level": "restricted"}}
    masks["comment"] = masks["status"] = {"access_level": "restricted"}
    assert ask("SELECT * FROM orders WHERE orderkey = 1", masks) == [{"orderkey": 1, "custkey": -17}]
    assert ask("SELECT DISTINCT * FROM orders WHERE orderkey = 1", masks) == [{"orderkey": 1, "custkey": -17}]


@pytest.mark.parametrize(
    ("masks", "shown"),
    [
        ({"custkey": "orderkey", "orderkey": "-1"}, (-1, 3)),
        ({"orderkey": "-1", "custkey": "orderkey"}, (-1, 3)),
        ({"custkey": "orderkey", "orderkey": "custkey"}, (37, 3)),
        ({"custkey": "CASE WHEN orderkey = 3 THEN 1 ELSE 0 END", "orderkey": {"mask": "null"}}, (None, 1)),
        ({"custkey": "orderkey + custkey", "orderkey": "orderkey + custkey"}, (40, 40)),
        ({"custkey": {"mask": "null", "when": "orderkey = 3"}, "orderkey": "0"}, (0, None)),
    ],
)
def test_c68_a_mask_sees_what_other_masks_hide(ask: Ask, masks: Masks, shown: tuple[Any, Any]) -> None:
    (row,) = ask("SELECT orderkey, custkey FROM orders ORDER BY comment LIMIT 1 OFFSET 2", masks)
    assert (row["orderkey"], row["custkey"]) == shown


def test_c69_a_part_of_a_masked_struct(ask: Ask) -> None:
    sql = "SELECT nested.b AS b, nested['a'] AS a, orders.nested.b AS c FROM orders WHERE orderkey = 1"
    assert ask(sql, {}) == [{"b": "deep 1", "a": 1, "c": "deep 1"}]
    assert ask(sql, {"nested": {"mask": "null"}}) == [{"b": None, "a": None, "c": None}]
    with pytest.raises((AccessDenied, BindError)):
        ask(sql, {"nested": {"access_level": "restricted"}})
