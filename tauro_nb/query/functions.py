"""Which functions a query may call. A function that is not listed does not run."""

from __future__ import annotations

import functools
import json
from collections.abc import Container, Iterator
from importlib import resources
from typing import Any

from sqlglot import exp

from tauro_nb.errors import BindError, UnsupportedStatement, nearest
from tauro_nb.query.names import folded
from tauro_nb.query.trees import copied, every

__all__ = ["TABLE_FUNCTIONS", "allowed_functions", "check_functions", "check_serialized", "without_pivots"]

TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "repeat", "unnest"})
"""Table functions that compute from their arguments alone; all others read files, run SQL or show the engine."""


@functools.cache
def allowed_functions() -> frozenset[str]:
    """Scalar, aggregate and window functions of DuckDB 1.5 without those that read state, settings or files.

    >>> "sum" in allowed_functions(), "getenv" in allowed_functions()
    (True, False)
    """
    text = resources.files("tauro_nb.query").joinpath("functions.txt").read_text(encoding="utf-8")
    return frozenset(text.split("\n")) - {""}


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object below `value`, parents before their children."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            item = item.values()
        stack += [child for child in item if isinstance(child, (dict, list))]


def _refuse(name: str, kind: str, text: str) -> BindError:
    names = TABLE_FUNCTIONS if kind == "table function" else allowed_functions()
    start = text.lower().find(name.lower())
    line = text.count("\n", 0, start) + 1 if start >= 0 else None
    col = start - text.rfind("\n", 0, start) if start >= 0 else None
    return BindError(
        f"{kind} `{name}` is not available here.{nearest(name, names)}",
        sql=text,
        line=line,
        col=col,
        hint="Files and other databases are read through virtual tables." if kind == "table function" else None,
    )


def check_serialized(serialized: str, text: str, relations: Container[tuple[str, str]]) -> bool:
    """Check functions and relations in DuckDB's own syntax tree, as JSON; False when DuckDB gave none.

    The engine's reading of the SQL decides, not ours: a gap between two parsers would be a way around.

    Parameters
    ----------
    relations
        Schema and name of those that were resolved, and of CTEs as they are compared, without a schema.

    Raises
    ------
    BindError
        A function is not on the list, or a relation was not resolved.
    """
    tree = json.loads(serialized)
    if tree.get("error"):
        return False
    allowed = allowed_functions()
    table_functions = set()
    for node in _nodes(tree):
        if node.get("type") == "SHOW_REF":
            raise UnsupportedStatement("DESCRIBE, SHOW and SUMMARIZE are not part of a query.", sql=text)
        if node.get("type") == "BASE_TABLE":
            schema, name = str(node.get("schema_name", "")), str(node.get("table_name", ""))
            if node.get("catalog_name") or (schema, name if schema else folded(name)) not in relations:
                raise BindError(f"relation `{name}` stands where a query may not name one.", sql=text)
        if node.get("type") == "TABLE_FUNCTION":
            function = node.get("function") or {}
            table_functions.add(id(function))
            name = str(function.get("function_name", "?"))
            if name.lower() not in TABLE_FUNCTIONS:
                raise _refuse(name, "table function", text)
        name = str(node.get("function_name", "")).lower()
        if name and id(node) not in table_functions and name not in allowed:
            raise _refuse(name, "function", text)
    return True


def without_pivots(tree: exp.Expr) -> list[exp.Expr]:
    """Queries that name the same relations and call the same functions, and that DuckDB can serialize: it gives no
    syntax tree of a statement with PIVOT or UNPIVOT, whose parts are SELECT lists here.

    >>> import sqlglot
    >>> trees = without_pivots(sqlglot.parse_one("PIVOT t ON a IN (1, 2) USING max(b) GROUP BY c", dialect="duckdb"))
    >>> [tree.sql("duckdb") for tree in trees]
    ['SELECT a IN (1, 2), MAX(b), c FROM t']
    >>> trees = without_pivots(sqlglot.parse_one("FROM t PIVOT (max(b) FOR a IN (1 AS x, 2))", dialect="duckdb"))
    >>> [tree.sql("duckdb") for tree in trees]
    ['SELECT * FROM t', 'SELECT MAX(b), a IN (1, 2)']
    """
    if not every(tree, exp.Pivot):
        return [tree]
    root = exp.Paren(this=copied(tree))
    parts: list[exp.Expr] = []
    for pivot in every(root, exp.Pivot):
        said = exp.Select(expressions=_said(pivot) or [exp.Star()])
        if pivot.args.get("this") is None:
            parts.append(said)
            continue
        said.set("with_", pivot.args.get("with_"))
        pivot.replace(said.from_(pivot.this, copy=False))
    for relation in every(root, exp.Table, exp.Subquery):
        relation.set("pivots", None)
    return [root.this, *parts]


def _said(pivot: exp.Pivot) -> list[exp.Expr]:
    """What stands in a PIVOT or UNPIVOT beside the relation; names that are given there are no part of it."""
    for named in every(pivot, exp.PivotAlias):
        named.replace(named.this)
    group = pivot.args.get("group")
    lists = (pivot.expressions, pivot.args.get("fields"), pivot.args.get("using"), group and group.expressions)
    return [item for items in lists for item in items or ()]


def check_functions(tree: exp.Expr, text: str) -> None:
    """The same check on our tree, for what DuckDB cannot serialize.

    Typed nodes are functions that sqlglot knows; only those that read files are refused among them.
    """
    for table in tree.find_all(exp.Table):
        function = table.this
        if isinstance(function, exp.Func) and not isinstance(function, (exp.GenerateSeries, exp.Unnest)):
            name = function.name if isinstance(function, exp.Anonymous) else function.sql_name()
            if name.lower() not in TABLE_FUNCTIONS:
                raise _refuse(name, "table function", text)
    for node in tree.find_all(exp.Anonymous, exp.AnonymousAggFunc, exp.ReadCSV, exp.ReadParquet):
        name = str(node.this) if isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc)) else node.sql_name()
        if name.lower() not in allowed_functions() | TABLE_FUNCTIONS:
            raise _refuse(name, "function", text)
