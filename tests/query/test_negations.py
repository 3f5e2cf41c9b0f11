"""A negation that is an operand stays one, wherever the text of a tree is written anew."""

from __future__ import annotations

import itertools
from pathlib import Path

import duckdb
import pytest

from tauro_nb import VirtualContext

NEGATED = ("a NOT IN (5)", "a NOT BETWEEN 1 AND 2", "s NOT LIKE 'x%'", "NOT s NOT LIKE 'x%'", "a IS NOT NULL")
BEHIND = ("= c", "<> c", "< c", ">= c", "IS TRUE", "IS NOT FALSE", "IS DISTINCT FROM c", "IS NULL")
CONDITIONS = [f"{left} {right}" for left, right in itertools.product(NEGATED, BEHIND)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("negations") / "w.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE t AS FROM (VALUES (1, 5, 'x1', true), (2, 1, 'y', false), (3, NULL, NULL, true), "
            "(4, 2, 'x', NULL), (5, 9, 'z', true), (6, 5, 'z', false)) v(id, a, s, c)"
        )
    return path


def test_conditions_filters_and_queries_mean_what_duckdb_reads(path: Path) -> None:
    with duckdb.connect(str(path), read_only=True) as plain:
        expected = {
            condition: sorted(plain.execute(f"SELECT id FROM t WHERE {condition}").fetchall())
            for condition in CONDITIONS
        }
    table = {"connector_type": "duckdb", "connection": "c", "table": "t"}
    asked = {"connector_type": "duckdb", "connection": "c"}
    numbered = list(enumerate(CONDITIONS))
    config = {
        "connections": {"c": {"type": "duckdb", "path": str(path)}},
        "virtual_tables": {
            "t": table,
            **{f"f{number}": table for number, _ in numbered},
            **{f"q{number}": {**asked, "query": f"SELECT id FROM t WHERE {said}"} for number, said in numbered},
        },
        "security_policies": {f"f{number}": {"row_level_filters": {"*": said}} for number, said in numbered},
    }
    wrong = []
    with VirtualContext(config, "ana") as ctx:
        for number, condition in numbered:
            for sql in (f"t WHERE {condition}", f"f{number}", f"q{number}"):
                found = sorted((row["id"],) for row in ctx.query(f"SELECT id FROM {sql}").rows())
                if found != expected[condition]:
                    wrong.append((sql, condition, found, expected[condition]))
    assert not wrong
    assert len({str(rows) for rows in expected.values()}) > 5
