"""Second step: every name of a query is resolved, every function is on the list, every type fits."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, traverse_scope
from sqlglot.schema import MappingSchema

from tauro_nb.errors import AccessDenied, BindError, TauroError, UnknownTable, nearest
from tauro_nb.query.functions import check_functions, check_serialized, without_pivots
from tauro_nb.query.given import shaping_parameters
from tauro_nb.query.names import COLUMNS, LOCAL, VISIBLE, folded, leaf_kind, unmarked
from tauro_nb.query.parse import position_of
from tauro_nb.query.query import Leaf, Query
from tauro_nb.query.resolve import names_rows, resolve
from tauro_nb.query.trees import bare, every, written
from tauro_nb.query.uses import Roles, column_roles

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner

__all__ = ["bind"]

# DuckDB syntax whose columns sqlglot does not resolve as DuckDB does; such queries run as they are bound.
_NOT_QUALIFIED = (exp.Pivot, exp.Columns, exp.Comprehension, exp.Lateral, exp.Unnest, exp.Dot, exp.Bracket, exp.Lambda)

_COLUMN_NOT_FOUND = re.compile(
    r'(?:Referenced column "(?P<a>[^"]+)" not found|does not have a column named "(?P<b>[^"]+)")'
)
_FUNCTION_NOT_FOUND = re.compile(r"Function with name (?P<name>\S+) does not exist")
_VALUE_WITHOUT_FORM = re.compile(r"transform python value of type '<class '(?:\w+\.)*(?P<name>\w+)'>'")
_TABLE_NOT_FOUND = re.compile(r'Referenced table "(?P<name>[^"]+)" not found')


def bind(query: Query, planner: Planner) -> Query:
    """Resolve relations, functions, columns and types of `query` for the planner's principal.

    Raises
    ------
    UnknownTable
        A relation is neither a CTE in scope nor a virtual table.
    BindError
        A column or function is unknown, or types do not fit.
    AccessDenied
        A column or table exists, and is denied.
    """

    def lookup(node: exp.Table, dotted: str) -> tuple[str, str]:
        for frame in query.frames:
            if frame.lower() == dotted.lower():
                return frame, LOCAL
        try:
            return planner.sight.resolve(dotted).name, VISIBLE
        except UnknownTable as error:
            line, col = position_of(node)
            raise UnknownTable(error.message, sql=query.text, line=line, col=col, hint=error.hint) from None

    def resolved() -> exp.Expr:
        return bare(resolve(query.tree, lookup))

    tree = resolved()
    names = {(node.name, leaf_kind(node)) for node in every(tree, exp.Table) if leaf_kind(node)}
    planner.look_ahead(sorted(name for name, kind in names if kind == VISIBLE))
    for name, kind in sorted(names, key=str):
        if kind == LOCAL:
            planner.binder.ensure(name, LOCAL, planner.frame_columns(query.frames[name]))
        else:
            planner.binder.ensure(name, VISIBLE, planner.visible_columns(name))
    _require_own_names(tree, query, planner)
    sql = written(tree)
    relations = {(str(kind), name) for name, kind in names} | {("", folded(cte.alias)) for cte in every(tree, exp.CTE)}
    _require_listed(tree, sql, relations, query, planner)
    tables = sorted(name for name, kind in names if kind == VISIBLE)
    schema = _describe(query, sql, tables, planner)
    everything = tuple(Leaf(name, tuple(planner.visible_columns(name))) for name in tables)
    special = every(tree, exp.Join, exp.CTE, exp.Table, *_NOT_QUALIFIED)
    bound = query.evolve("bind", tree, schema=None if any(map(_is_dynamic, special)) else schema, leaves=everything)
    if bound.schema is not None and not any(map(_resists, special)):
        # What sqlglot gives up on half-way is no tree any more.
        bound = _qualify(bound, bound.schema, tables, planner) or replace(bound, tree=resolved())
    return bound if bound.qualified else replace(bound, roles=_roles(traverse_scope(bound.tree), tables))


def _require_listed(
    tree: exp.Expr, sql: str, relations: Container[tuple[str, str]], query: Query, planner: Planner
) -> None:
    """Refuse functions that are not on the list, and relations that were not resolved."""
    for part in without_pivots(tree):
        serialized = planner.binder.serialize(sql if part is tree else written(part))
        if not check_serialized(serialized, query.text, relations):
            check_functions(part, query.text)


def _require_own_names(tree: exp.Expr, query: Query, planner: Planner) -> None:
    """Refuse a CTE that is called like a relation of the engine's own.

    Wherever DuckDB and we were of two minds about what a CTE's name means, it would be that relation, which tells of
    every source.
    """
    for cte in every(tree, exp.CTE):
        if folded(cte.alias) in planner.binder.own_relations:
            line, col = position_of(cte.args["alias"])
            message = f"`{cte.alias}` is a name of the engine's own."
            raise BindError(message, sql=query.text, line=line, col=col, hint="Give what WITH names another name.")


def _is_dynamic(node: exp.Expr) -> bool:
    return isinstance(node, exp.Pivot) and bool(not node.args.get("fields") or node.args.get("using"))


def _describe(query: Query, sql: str, tables: list[str], planner: Planner) -> dict[str, str]:
    if query.params:
        planner.deciding.update(shaping_parameters(query.tree))
    try:
        return _user_names(planner.binder.describe(sql, query.params))
    except duckdb.Error as error:
        raise _explain(str(error), query, tables, planner) from None


def _user_names(columns: dict[str, str]) -> dict[str, str]:
    """DuckDB names an unnamed column by its SQL, in which our marks would show."""
    if not any("~" in name for name in columns):
        return columns
    return {unmarked(name): kind for name, kind in columns.items()}


def _explain(message: str, query: Query, tables: list[str], planner: Planner) -> TauroError:
    """DuckDB's complaint in our words: the user's names, a position in the user's text, the nearest name."""
    for pattern, kind in (
        (_COLUMN_NOT_FOUND, "column"),
        (_TABLE_NOT_FOUND, "table"),
        (_FUNCTION_NOT_FOUND, "function"),
    ):
        match = pattern.search(message)
        if not match:
            continue
        name = next(group for group in match.groups() if group)
        line, col = _find_name(query.tree, name)
        for table in tables:
            decision = planner.entry(table).decision
            column = next((c for c in decision.columns.values() if c.name.lower() == name.lower()), None)
            if kind == "column" and column is not None and column.access == "denied":
                reason = f"column `{column.name}` of `{table}` is denied to {planner.principal.name!r}: {column.rule}."
                return AccessDenied(reason, sql=query.text, line=line, col=col, table=table)
        known = {column for table in tables for column in planner.visible_columns(table)}
        hint = nearest(name, known) if kind == "column" else ""
        return BindError(f"unknown {kind} `{name}`.{hint}", sql=query.text, line=line, col=col)
    if match := _VALUE_WITHOUT_FORM.search(message):
        hint = "Use text, numbers, booleans, dates, times, bytes, None or lists of them."
        return BindError(f"a parameter of type {match['name']} has no SQL form.", sql=query.text, hint=hint)
    first = message.split("\n\n", maxsplit=1)[0].split("\nLINE ", maxsplit=1)[0].replace("\n", " ").strip()
    first = unmarked(first)
    first = first.removeprefix("Binder Error: ").removeprefix("Catalog Error: ")
    return BindError(first if first.endswith((".", "!")) else f"{first}.", sql=query.text)


def _find_name(tree: exp.Expr, name: str) -> tuple[int | None, int | None]:
    for node in tree.find_all(exp.Column, exp.Identifier, exp.Anonymous):
        if node.name.lower() == name.lower():
            line, col = position_of(node)
            if line:
                return line, col
    return None, None


def _qualify(query: Query, types: Mapping[str, str], tables: list[str], planner: Planner) -> Query | None:
    """Write every column with its relation, in place; None if sqlglot and DuckDB do not agree on what that means.

    Then the query is planned as it was bound: slower to plan around, never wrong.
    """
    columns = {name: planner.visible_columns(name) for name in tables}
    schema = MappingSchema(
        {
            VISIBLE: {name.lower(): {c.lower(): t for c, t in columns[name].items()} for name in tables},
            LOCAL: {
                name.lower(): {c.lower(): t for c, t in planner.frame_columns(frame).items()}
                for name, frame in query.frames.items()
            },
        },
        dialect="duckdb",
        normalize=False,
    )
    try:
        # `_note_columns` looks whether every column is resolved.
        tree = qualify(query.tree, schema=schema, dialect="duckdb", validate_qualify_columns=False)
        scopes = traverse_scope(tree)
        used = _note_columns(scopes)
        if used is None or _is_in_doubt(tree):
            return None
        described = planner.binder.describe(written(tree), query.params)
    except (SqlglotError, duckdb.Error):
        return None
    if list(described.values()) != list(types.values()):
        return None
    exact = tuple(
        Leaf(name, tuple(c for c in columns[name] if c.lower() in used.get(name.lower(), ()))) for name in tables
    )
    return query.evolve("qualify", tree, leaves=exact, roles=_roles(scopes, tables), qualified=True)


def _roles(scopes: Sequence[Scope], tables: Iterable[str]) -> Roles:
    return {**{name.lower(): {} for name in tables}, **column_roles(scopes)}


def _is_resolved(scope: Scope) -> bool:
    """Whether every column of a SELECT is written with a relation of its own, or of a query around that may be read."""
    strangers = scope.external_columns and not scope.is_correlated_subquery and not scope.pivots
    return not strangers and not scope.unqualified_columns


def _is_in_doubt(tree: exp.Expr) -> bool:
    """Whether a star was left unexpanded, or a relation's name may stand for a whole row, as in `SELECT t FROM t`."""
    stars = [star for star in every(tree, exp.Star) if not isinstance(star.parent, exp.Count)]
    return bool(stars or every(tree, exp.TableColumn)) or names_rows(tree)


def _resists(node: exp.Expr) -> bool:
    if isinstance(node, exp.CTE):
        # sqlglot looks for names in the parentheses.
        return isinstance(node.this, exp.Subquery) and bool(node.parent and node.parent.args.get("recursive"))
    if isinstance(node, exp.Table):
        # `FROM t AS x(a, b)` names columns by their places, which a leaf of some columns has not.
        return bool(node.alias_column_names) and leaf_kind(node) is not None
    return not isinstance(node, exp.Join) or _joins_by_name(node) or _names_twice(node)


def _joins_by_name(join: exp.Join) -> bool:
    method = join.method.upper()
    return method in ("NATURAL", "POSITIONAL") or (method == "ASOF" and bool(join.args.get("using")))


def _names_twice(join: exp.Join) -> bool:
    """Whether a bare name may be a column of USING or one of the SELECT list: DuckDB takes the former, sqlglot not.

    >>> from sqlglot import parse_one
    >>> joined = "FROM t JOIN u USING (a)"
    >>> texts = (f"SELECT sum(b) AS a {joined} GROUP BY a HAVING a > 1", f"SELECT a AS a {joined}")
    >>> [_names_twice(parse_one(text).find(exp.Join)) for text in texts]
    [True, False]
    """
    shared = {name.name.lower() for name in join.args.get("using") or ()}
    select = join.find_ancestor(exp.Select) if shared else None
    if select is None:
        return False
    own = [item for item in select.expressions if isinstance(item, exp.Alias) and item.alias.lower() in shared]
    named = {item.alias.lower() for item in own if not isinstance(item.this, exp.Column) or item.this.table}
    read = [select.args.get("having"), select.args.get("qualify"), *(select.expressions if named else ())]
    columns = (column for clause in read if clause is not None for column in every(clause, exp.Column))
    return any(not column.table and column.name.lower() in named for column in columns)


def _note_columns(scopes: Iterable[Scope]) -> dict[str, set[str]] | None:
    """Note with every marked relation of a qualified tree which columns are used of it, in lower case.

    Returns the same for each table, wherever it stands; None if a column was not resolved.
    """
    tables: dict[str, set[str]] = {}
    for scope in scopes:
        if isinstance(scope.expression, exp.Select) and not _is_resolved(scope):
            return None
        used: dict[str, set[str]] = {}
        for column in scope.columns:
            used.setdefault(column.table.lower(), set()).add(column.name.lower())
        for alias, source in scope.sources.items():
            if isinstance(source, exp.Table) and leaf_kind(source):
                names = used.get(alias.lower(), set())
                # A relation of a query around this one is a source here as well.
                source.meta[COLUMNS] = source.meta.get(COLUMNS, frozenset()) | names
                tables.setdefault(source.name.lower(), set()).update(names)
    return tables
