"""Walks and copies of our own give what sqlglot's give."""

from __future__ import annotations

import pytest
import sqlglot
from sqlglot import exp

from tauro_nb.query.literals import bind_literals
from tauro_nb.query.trees import alias_of, bare, owner_of
from tauro_nb.walks import children, copied, every, every_above

TEXTS = (
    "SELECT a, t.*, count(*), CAST(b AS DECIMAL(10, 2)) FROM t WHERE a IN (1, 2) AND NOT b IS NULL /* why */",
    "WITH c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < :most) SELECT * FROM c, LATERAL (SELECT 2)",
    "SELECT sum(a) FILTER (WHERE b) OVER (PARTITION BY c ORDER BY d NULLS FIRST) FROM s.t AS u(a, b) LIMIT 3 OFFSET 1",
    "SELECT COLUMNS('a.*'), list_transform([1, NULL], x -> x + 1), {'k': TRUE}, INTERVAL 3 DAY FROM t",
    "SELECT * FROM a JOIN b USING (k) LEFT JOIN (VALUES (1, 'x')) AS v(k, w) ON a.k = v.k WHERE EXISTS (FROM c)",
)
KINDS = (
    (exp.Column,), (exp.Identifier,), (exp.Literal,), (exp.Star,), (exp.Null, exp.Boolean), (exp.Table, exp.Subquery),
    (exp.Query,), (exp.Func, exp.Binary), (exp.Placeholder,), (exp.Expr,),
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_every_finds_what_find_all_finds_in_its_order(text: str) -> None:
    tree = sqlglot.parse_one(text, dialect="duckdb")
    for kinds in KINDS:
        assert list(map(id, every(tree, *kinds))) == list(map(id, tree.find_all(*kinds)))


@pytest.mark.parametrize("text", TEXTS)
def test_every_above_finds_what_a_pruned_walk_finds_in_its_order(text: str) -> None:
    tree = sqlglot.parse_one(text, dialect="duckdb")

    def is_end(node: exp.Expr) -> bool:
        return isinstance(node, exp.Subquery)

    for kinds in ((exp.Column,), (exp.Table, exp.Subquery), (exp.Query,)):
        walked = [node for node in tree.walk(prune=is_end) if isinstance(node, kinds)]
        assert list(map(id, every_above(tree, is_end, *kinds))) == list(map(id, walked))


@pytest.mark.parametrize("text", TEXTS)
def test_children_names_and_owners_are_what_sqlglot_says(text: str) -> None:
    plain = (exp.Identifier, exp.Literal, exp.Boolean, exp.Null)
    for node in sqlglot.parse_one(text, dialect="duckdb").walk():
        assert children(node) == [child for child in node.iter_expressions() if type(child) not in plain]
        assert alias_of(node) == node.alias_or_name.lower()
        if isinstance(node, exp.Column):
            assert owner_of(node) == node.table.lower()


@pytest.mark.parametrize("text", TEXTS)
def test_a_copy_is_equal_and_shares_no_node(text: str) -> None:
    tree = sqlglot.parse_one(text, dialect="duckdb")
    twin = copied(tree)
    assert twin.sql("duckdb") == tree.sql("duckdb")
    assert not set(map(id, twin.walk())) & set(map(id, tree.walk()))
    places = [[(node.arg_key, node.index, node.comments, node._meta) for node in one.walk()] for one in (tree, twin)]
    assert places[0] == places[1]
    assert all(node.parent is None or node in list(node.parent.iter_expressions()) for node in twin.walk())
    assert bare(twin) == bare(copied(tree))


def test_parameters_become_literals_wherever_they_stand() -> None:
    tree = sqlglot.parse_one("SELECT a FROM t WHERE a = :low OR b IN (:low, :high)", dialect="duckdb")
    bound = bind_literals(tree, {"low": 1, "high": "x"})
    assert bound.sql("duckdb") == "SELECT a FROM t WHERE a = 1 OR b IN (1, 'x')"
    alone = bind_literals(exp.Placeholder(this="low"), {"low": 7})
    assert (alone.sql("duckdb"), alone.parent, bound.parent) == ("7", None, None)
