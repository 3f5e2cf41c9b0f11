"""Fourth step: every virtual table becomes what the policy leaves of it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from tauro_nb.query.names import COLUMNS, RAW, VISIBLE, leaf_kind, leaf_table
from tauro_nb.query.query import Leaf, Query
from tauro_nb.query.secrecy import mark_policy, mark_view
from tauro_nb.query.trees import BARRIER, copied, every
from tauro_nb.security.relations import policy_reads, qualified

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner
    from tauro_nb.security.decision import TableDecision

__all__ = [
    "BARRIER", "INNER", "authorize", "cut_dictionaries", "expand_policy_reads", "inner_alias", "is_fenced", "secure",
]  # fmt: skip

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
    """Replace every visible relation, in place, by its secured leaf: row filter, then masks, behind a barrier."""
    tree, secured = query.tree, query
    for node in [node for node in every(tree, exp.Table) if leaf_kind(node) == VISIBLE]:
        leaf, secured = _leaf_of(node.name, node.meta_get(COLUMNS), planner, secured)
        alias = node.args.get("alias") or exp.TableAlias(this=exp.to_identifier(node.name, quoted=True))
        outer = exp.Subquery(this=leaf, alias=alias)
        for clause in ("pivots", "sample", "joins"):
            if node.args.get(clause):
                outer.set(clause, node.args[clause])
        if node is tree:
            tree = outer
        node.replace(outer)
    return secured.evolve("secure", tree)


def _leaf_of(name: str, wanted: Container[str] | None, planner: Planner, query: Query) -> tuple[exp.Select, Query]:
    """What stands for a table, and the query with what that adds to it: a barrier, reads of policies."""
    entry = planner.entry(name)
    inner = inner_alias(planner.depth)
    source: exp.Expr = leaf_table(entry.table.name, RAW, inner)
    if entry.view is not None:
        # A view stands in every query that reads it.
        body = secure(replace(entry.view, tree=copied(entry.view.tree)), planner)
        if entry.decision.needs_barrier:
            mark_view(body.tree)
        source = exp.Subquery(this=body.tree, alias=exp.TableAlias(this=exp.to_identifier(inner, quoted=True)))
        query = replace(
            query,
            fenced=query.fenced or body.fenced,
            strict=query.strict or body.strict,
            qualified=query.qualified and body.qualified,
            policy_leaves=(*query.policy_leaves, *body.policy_leaves),
        )
    leaf = secured_leaf(entry.decision, source, wanted, inner)
    if entry.view is not None and body.qualified:
        _as_qualified(leaf, inner)
    fenced, strict = query.fenced or entry.decision.needs_barrier, query.strict or entry.decision.is_strict
    return leaf, expand_policy_reads(leaf, entry.table.name, planner, replace(query, fenced=fenced, strict=strict))


def expand_policy_reads(tree: exp.Expr, table: str, planner: Planner, query: Query) -> Query:
    """Put leaves in the place of the tables that the policy of `table` reads in `tree`, as its `run_as` may see them.

    Returns the query with these reads noted.

    Raises
    ------
    AccessDenied
        Whoever reads for the policy is denied the table or one of the columns.
    """
    for node in list(policy_reads(tree)):
        # Two conditions of one policy may use one alias, each in a SELECT of its own.
        around = node.find_ancestor(exp.Select)
        assert around is not None
        columns = [column for column in every(around, exp.Column) if column.table == node.alias]
        names = tuple(dict.fromkeys(column.name for column in columns))
        with planner.reading_for_policy_of(table, node.catalog) as acting:
            acting.require_access(node.name, names)
            leaf, query = _leaf_of(node.name, {name.lower() for name in names}, acting, query)
            below = _with_tables_below((Leaf(acting.entry(node.name).table.name, names),), acting)
        for column in columns:
            column.set("this", exp.to_identifier(column.name.lower(), quoted=True))
        query = replace(query, policy_leaves=(*query.policy_leaves, *below))
        node.replace(exp.Subquery(this=leaf, alias=node.args["alias"]))
    return query


def inner_alias(depth: int) -> str:
    """Alias of the raw table inside a leaf; leaves inside a policy have one of their own, whatever is around them."""
    return f"{INNER}{depth}" if depth else INNER


def secured_leaf(
    decision: TableDecision, source: exp.Expr, wanted: Container[str] | None, inner: str = INNER
) -> exp.Select:
    """The SELECT that stands for a table: wanted visible columns, masks applied, rows filtered.

    Parameters
    ----------
    wanted
        Lower-case names of the columns the query uses; None for all that are visible.
    inner
        Alias of `source`: the policy's columns are the raw table's, whatever the query calls its relations.
    """
    columns = [decision.columns[c] for c in decision.visible_columns if wanted is None or c.lower() in wanted]
    selects: list[exp.Expr] = []
    for column in columns:
        mask = column.expression
        value = _raw(column.name) if mask is None else mark_policy(mask)
        name = column.name if wanted is None else column.name.lower()
        selects.append(exp.alias_(qualified(value, inner), name, quoted=True, copy=False))
    one = exp.alias_(exp.Literal.number(1), "~one", quoted=True)
    leaf = exp.Select(expressions=selects or [one]).from_(source, copy=False)
    if (row_filter := decision.row_filter) is not None:
        leaf = leaf.where(mark_policy(qualified(row_filter, inner)), copy=False)
    if decision.needs_barrier:
        leaf = leaf.limit(mark_policy(exp.Literal.number(BARRIER)), copy=False)
    return leaf


def _as_qualified(leaf: exp.Select, inner: str) -> None:
    """Write a view's columns as its qualified body does, in lower case: rules compare names letter by letter."""
    for part in (*leaf.expressions, leaf.args.get("where")):
        for column in every(part, exp.Column) if part is not None else ():
            if column.table == inner:
                column.this.set("this", column.name.lower())


def is_fenced(leaf: exp.Expr) -> bool:
    """Whether a leaf carries the barrier."""
    limit = leaf.args.get("limit")
    # FETCH FIRST stands in the same place, and is none.
    return isinstance(limit, exp.Limit) and limit.expression.name == BARRIER


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
        # DuckDB tries nothing in a subquery; what stands there is the policy's.
        for column in [column for column in every(select, exp.Column) if column.parent_select is leaf]:
            column.replace(exp.Anonymous(this="TRY", expressions=[copied(column)]))


def _raw(name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True))
