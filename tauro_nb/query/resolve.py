"""Resolve every relation of a tree: a CTE in scope, a virtual table, a frame; or refuse it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlglot import exp

from tauro_nb.query.names import folded, leaf_table
from tauro_nb.query.trees import copied, every

__all__ = ["doubtful_names", "names_rows", "relations", "resolve"]


def relations(tree: exp.Expr) -> Iterator[exp.Table]:
    """Tables of `tree` that are not CTE references and not table functions.

    Follows DuckDB's scoping: a CTE is visible after its definition, and in itself only where it repeats: behind the
    UNION of WITH RECURSIVE. Elsewhere its name means what it means without the CTE, which the engine may know as well.

    >>> import sqlglot
    >>> texts = ("with a as (select * from a) select * from a, b",
    ...          "with recursive a as (select * from a) from a", "with recursive a as (from b union from a) from a")
    >>> [[table.name for table in relations(sqlglot.parse_one(text, dialect="duckdb"))] for text in texts]
    [['a', 'b'], ['a'], ['b']]
    """
    yield from _walk(tree, frozenset())


def _walk(node: exp.Expr, ctes: frozenset[str], repeated: frozenset[str] = frozenset()) -> Iterator[exp.Table]:
    """Tables below a node; `repeated` is the CTE whose body it is, if that is recursive."""
    clause = node.args.get("with_")
    if clause is not None:
        for cte in clause.expressions:
            name = frozenset({folded(cte.alias)})
            yield from _walk(cte.this, ctes, name if clause.args.get("recursive") else frozenset())
            ctes = ctes | name
    if isinstance(node, exp.Table) and not isinstance(node.this, exp.Func):
        is_cte = not node.db and not node.catalog and folded(node.name) in ctes
        if not is_cte:
            yield node
    repeats = bool(repeated) and isinstance(node, exp.Union) and not node.args.get("by_name")
    passed = repeated if isinstance(node, exp.Subquery) else frozenset()
    for child in node.iter_expressions():
        if child is not clause:
            behind = repeats and child is node.args["expression"]
            yield from _walk(child, ctes | repeated if behind else ctes, passed)


def resolve(tree: exp.Expr, lookup: Callable[[exp.Table, str], tuple[str, str]]) -> exp.Expr:
    """Replace the name of every relation by its marked virtual name, on a copy.

    Parameters
    ----------
    lookup
        Gets the node and its dotted name, returns (virtual name, mark); raises for an unknown one.
    """
    tree = copied(tree)
    for node in list(relations(tree)):
        # Only we write the marks: typed by a user they are part of a dotted name that the lookup does not know.
        dotted = ".".join(part.name for part in node.parts)
        name, kind = lookup(node, dotted)
        alias = node.args.get("alias") or exp.TableAlias()
        # An alias that says nothing new would show in the names DuckDB gives to unnamed columns.
        if not alias.this and (alias.columns or node.name.lower() != name.lower()):
            alias.set("this", exp.to_identifier(node.name, quoted=_is_quoted(node)))
        _drop_prefix(tree, node)
        marked = leaf_table(name, kind)
        node.set("this", marked.this)
        node.set("db", marked.args["db"])
        node.set("catalog", None)
        node.set("alias", alias if alias.this else None)
    return tree


def _drop_prefix(tree: exp.Expr, table: exp.Table) -> None:
    """`crm.customers.id` names the column `id` of the relation `customers` once `crm.customers` is resolved."""
    if not table.db:
        return
    prefix = [part.name.lower() for part in table.parts]
    for column in every(tree, exp.Column):
        parts = [part.name.lower() for part in column.parts[:-1]]
        if parts == prefix:
            column.set("db", None)
            column.set("catalog", None)


def _is_quoted(node: exp.Table) -> bool:
    return bool(isinstance(node.this, exp.Identifier) and node.this.quoted)


def names_rows(tree: exp.Expr) -> bool:
    """Whether the name of a relation may stand for a whole row, as in `SELECT t FROM t`.

    >>> import sqlglot
    >>> texts = ("SELECT count(a) FROM t AS a", "SELECT b AS a FROM a ORDER BY a", "SELECT x.a FROM a AS x")
    >>> [names_rows(sqlglot.parse_one(text, dialect="duckdb")) for text in texts]
    [True, False, False]
    """
    bare = [column for column in every(tree, exp.Column) if not column.table]
    named = {node.alias_or_name.lower() for node in every(tree, exp.Table, exp.Subquery, exp.CTE)} if bare else ()
    return any(column.name.lower() in named and not _sorts_by_output(column) for column in bare)


def _sorts_by_output(column: exp.Column) -> bool:
    """Whether it is the name of an output column behind ORDER BY, where such names come first."""
    order = column.parent.parent if isinstance(column.parent, exp.Ordered) else None
    select = order.parent if isinstance(order, exp.Order) else None
    return isinstance(select, exp.Select) and column.name.lower() in {name.lower() for name in select.named_selects}


def doubtful_names(query: exp.Expr) -> str:
    """Why a source may read the names of a query that is not qualified otherwise than DuckDB; empty when it may not."""
    if not _is_spelled_alike(query):
        return "it writes one name in two ways, which the source may take for two names"
    return "it names a whole row, which the source may take for something else" if names_rows(query) else ""


def _is_spelled_alike(query: exp.Expr) -> bool:
    """Whether every name is written in one way; of a query that is not qualified nobody has seen to that.

    To DuckDB `a` and `"A"` are one name. PostgreSQL takes what is not quoted for lower case, and tells the rest apart;
    what it answers is asked for by quoted names.

    >>> from sqlglot import parse_one
    >>> [_is_spelled_alike(parse_one(f"SELECT {names} FROM t")) for names in ('a + "a"', 'a + "A"', '"A"', "A")]
    [True, False, True, False]
    """
    spellings: dict[str, str] = {}
    for name in every(query, exp.Identifier):
        plain = name.name.lower()
        if spellings.setdefault(plain, name.name) != name.name or (not name.quoted and name.name != plain):
            return False
    return True
