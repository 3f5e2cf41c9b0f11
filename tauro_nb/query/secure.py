"""Fourth step: every virtual table becomes what the policy leaves of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from tauro_nb.query.bind import leaf_columns
from tauro_nb.query.names import RAW, VISIBLE, leaf_kind, leaf_table
from tauro_nb.query.query import Leaf, Query
from tauro_nb.query.secrecy import mark_policy
from tauro_nb.query.trees import BARRIER, copied, every

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner
    from tauro_nb.security.decision import TableDecision

__all__ = ["BARRIER", "INNER", "authorize", "cut_dictionaries", "is_fenced", "secure"]

INNER = "_"
"""Alias of the raw table inside a leaf."""


def authorize(query: Query, planner: Planner) -> Query:
    """Third step: table rights. Denied columns never bind, so here every leaf is checked as a whole.

    Raises
    ------
    AccessDenied
        The principal may not read one of the tables; nothing has run.
    """
    for leaf in query.leaves:
        planner.require_access(leaf.table, leaf.columns)
    return replace(query, leaves=_with_tables_below(query.leaves, planner))


def _with_tables_below(leaves: tuple[Leaf, ...], planner: Planner) -> tuple[Leaf, ...]:
    """The leaves and those of the views among them: who reads a view reads its tables, and the trail says so."""
    columns: dict[str, dict[str, None]] = {}
    stack = list(reversed(leaves))
    while stack:
        leaf = stack.pop()
        columns.setdefault(leaf.table, {}).update(dict.fromkeys(leaf.columns))
        view = planner.entry(leaf.table).view
        if view is not None:
            stack.extend(reversed(view.leaves))
    return tuple(Leaf(table, tuple(names)) for table, names in columns.items())


def secure(query: Query, planner: Planner) -> Query:
    """Replace every visible relation by its secured leaf: row filter, then masks, behind a barrier."""
    tree = copied(query.tree)
    used = leaf_columns(tree) if query.qualified else {}
    fenced, strict, qualified = query.fenced, query.strict, query.qualified
    for node in [node for node in every(tree, exp.Table) if leaf_kind(node) == VISIBLE]:
        entry = planner.entry(node.name)
        wanted = used.get(id(node), ("", None))[1]
        source: exp.Expr = leaf_table(entry.table.name, RAW, INNER)
        if entry.view is not None:
            body = secure(entry.view, planner)
            fenced, strict = fenced or body.fenced, strict or body.strict
            qualified = qualified and body.qualified
            source = exp.Subquery(this=body.tree, alias=exp.TableAlias(this=exp.to_identifier(INNER, quoted=True)))
        leaf = secured_leaf(entry.decision, source, wanted)
        if entry.view is not None and body.qualified:
            _as_qualified(leaf)
        fenced = fenced or entry.decision.needs_barrier
        strict = strict or entry.decision.is_strict
        alias = node.args.get("alias") or exp.TableAlias(this=exp.to_identifier(node.name, quoted=True))
        outer = exp.Subquery(this=leaf, alias=alias)
        for clause in ("pivots", "sample", "joins"):
            if node.args.get(clause):
                outer.set(clause, node.args[clause])
        if node is tree:
            tree = outer
        node.replace(outer)
    return query.evolve("secure", tree, fenced=fenced, strict=strict, qualified=qualified)


def secured_leaf(decision: TableDecision, source: exp.Expr, wanted: set[str] | None) -> exp.Select:
    """The SELECT that stands for a table: wanted visible columns, masks applied, rows filtered.

    Parameters
    ----------
    wanted
        Lower-case names of the columns the query uses; None for all that are visible.
    """
    columns = [decision.columns[c] for c in decision.visible_columns if wanted is None or c.lower() in wanted]
    selects: list[exp.Expr] = []
    for column in columns:
        mask = column.expression
        value = _raw(column.name) if mask is None else mark_policy(mask)
        name = column.name if wanted is None else column.name.lower()
        selects.append(exp.alias_(_inside(value), name, quoted=True, copy=False))
    one = exp.alias_(exp.Literal.number(1), "~one", quoted=True)
    leaf = exp.Select(expressions=selects or [one]).from_(source, copy=False)
    if (row_filter := decision.row_filter) is not None:
        leaf = leaf.where(mark_policy(_inside(row_filter)), copy=False)
    if decision.needs_barrier:
        leaf = leaf.limit(mark_policy(exp.Literal.number(BARRIER)), copy=False)
    return leaf


def _as_qualified(leaf: exp.Select) -> None:
    """Write a view's columns as its qualified body does, in lower case: rules compare names letter by letter."""
    for part in (*leaf.expressions, leaf.args.get("where")):
        for column in part.find_all(exp.Column) if part is not None else ():
            if column.table == INNER and column.parent_select is leaf:
                column.this.set("this", column.name.lower())


def is_fenced(leaf: exp.Expr) -> bool:
    """Whether a leaf carries the barrier."""
    limit = leaf.args.get("limit")
    return limit is not None and limit.expression.name == BARRIER


def cut_dictionaries(leaf: exp.Select) -> None:
    """Read every column of a fenced leaf as `TRY(column)`, in place, for the engine.

    DuckDB reads repeated values as a dictionary, and calls a function once for each entry, those of hidden rows among
    them: no LIMIT is in the way. TRY copies the values of the rows that are left.

    >>> import sqlglot
    >>> leaf = sqlglot.parse_one('SELECT _.a AS a, upper(_.b) AS b FROM t AS _ WHERE _.a > 1')
    >>> cut_dictionaries(leaf)
    >>> leaf.sql("duckdb")
    'SELECT TRY(_.a) AS a, UPPER(TRY(_.b)) AS b FROM t AS _ WHERE _.a > 1'
    """
    for select in leaf.expressions:
        for column in list(select.find_all(exp.Column)):
            copied = exp.Anonymous(this="TRY", expressions=[column.copy()])
            column.replace(copied)


def _raw(name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True))


def _inside(expression: exp.Expr) -> exp.Expr:
    """The policy's columns are the raw table's, whatever the query calls its relations."""
    for column in every(expression, exp.Column):
        if not column.table:
            column.set("table", exp.to_identifier(INNER, quoted=True))
    return expression
