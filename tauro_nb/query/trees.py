"""Small questions about trees."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

from sqlglot import exp
from sqlglot.errors import SqlglotError

from tauro_nb.walks import children, copied, every, every_above

__all__ = [
    "BARRIER",
    "IMMOVABLE",
    "KEPT",
    "PARAMETER",
    "POLICY",
    "VIEW",
    "alias_of",
    "bare",
    "children",
    "conjuncts",
    "copied",
    "cuts_below_join",
    "disjuncts",
    "every",
    "every_above",
    "known_type",
    "owner_of",
    "quoted_column",
    "scanning_twice",
    "type_node",
    "written",
]

BARRIER = str(2**62)
"""A LIMIT no table reaches. Databases do not move predicates below a LIMIT, so a predicate that can throw
never sees a hidden row; other fences (a materialized CTE, OFFSET 0 in DuckDB) were measured to leak."""

IMMOVABLE = (exp.Query, exp.AggFunc, exp.Window, exp.Rand, exp.Uuid, exp.Unnest, exp.Anonymous)
"""What a condition that is asked elsewhere must not hold: its value is not that of one row, or not the same twice."""

POLICY = "policy"
"""Key under which a node's `meta` says that a policy wrote it."""
PARAMETER = "parameter"
"""Key under which a literal's `meta` says which parameter it is the value of."""
VIEW = "view"
"""Key under which a literal's `meta` says that it is of the text of a view with a policy."""
KEPT = frozenset({POLICY, PARAMETER, VIEW, "mask"})
"""What `bare` leaves in a node's `meta`."""

Tree = TypeVar("Tree", bound=exp.Expr)


def written(tree: exp.Expr, dialect: str = "duckdb") -> str:
    """The SQL of a tree; writing takes trees apart, so that it works on a copy."""
    return copied(tree).sql(dialect, copy=False)


def alias_of(node: exp.Expr) -> str:
    """What `node.alias_or_name.lower()` gives, in a third of the time.

    >>> import sqlglot
    >>> tree = sqlglot.parse_one("SELECT x AS N FROM T, t AS U")
    >>> [alias_of(node) for node in every(tree, exp.Alias, exp.Table)]
    ['n', 't', 'u']
    """
    alias = node.args.get("alias")
    if alias.__class__ is exp.TableAlias:
        alias = alias.args.get("this")
    name: str = alias.args["this"] if alias.__class__ is exp.Identifier else ""
    return name.lower() or node.alias_or_name.lower()


def owner_of(column: exp.Column) -> str:
    """What `column.table.lower()` gives, in a third of the time.

    >>> owner_of(exp.column("x", "T")), owner_of(exp.column("x"))
    ('t', '')
    """
    table = column.args.get("table")
    name: str = table.args["this"] if table.__class__ is exp.Identifier else column.table
    return name.lower()


def quoted_column(name: str, table: str = "") -> exp.Column:
    """A column by its exact name, and that of its relation.

    >>> quoted_column("n").sql("duckdb"), quoted_column("n", "T").sql("duckdb")
    ('"n"', '"T"."n"')
    """
    # `exp.column` would copy the names, and read what is no text.
    column = exp.Column(this=exp.Identifier(this=name, quoted=True))
    if table:
        column.set("table", exp.Identifier(this=table, quoted=True))
    return column


@functools.lru_cache(maxsize=1024)
def known_type(text: str, dialect: str = "duckdb") -> exp.DataType:
    """A type, parsed once and shared: to compare with, not to put into a tree; UNKNOWN if the text is not one."""
    try:
        return exp.DataType.build(text, dialect=dialect, udt=True)
    except SqlglotError:
        return exp.DataType(this=exp.DType.UNKNOWN)


def type_node(text: str, dialect: str = "duckdb") -> exp.DataType:
    """The node of a type that DuckDB or a source named, whose text is parsed once.

    >>> type_node("DECIMAL(15,2)").sql("duckdb")
    'DECIMAL(15, 2)'
    """
    return copied(known_type(text, dialect))


def conjuncts(condition: exp.Expr | None) -> Iterator[exp.Expr]:
    """The parts of a condition that all must hold.

    >>> import sqlglot
    >>> [part.sql() for part in conjuncts(sqlglot.parse_one("a = 1 AND (b = 2 AND c = 3)"))]
    ['a = 1', 'b = 2', 'c = 3']
    """
    if condition is None:
        return
    unnested = condition.unnest()
    if isinstance(unnested, exp.And):
        yield from conjuncts(unnested.this)
        yield from conjuncts(unnested.expression)
    else:
        yield condition


def cuts_below_join(tree: exp.Expr) -> bool:
    """Whether a subquery keeps some of its rows (LIMIT, OFFSET) while there is a join or a subquery in a condition.

    DuckDB 1.5.5 lets a join's filter on keys through such a LIMIT, which then picks other rows (duckdb/duckdb#22924).
    A limit without a row count it could reach, as the barrier's, loses nothing by that.

    >>> import sqlglot
    >>> cut = "SELECT * FROM a JOIN (SELECT * FROM b ORDER BY x LIMIT 3) AS c ON a.x = c.x"
    >>> [cuts_below_join(sqlglot.parse_one(sql)) for sql in (cut, "SELECT * FROM a JOIN b ON a.x = b.x LIMIT 3")]
    [True, False]
    """
    cutting = [node.parent for node in every(tree, exp.Limit, exp.Offset, exp.Fetch) if not _is_endless(node)]
    if all(query is tree for query in cutting):
        return False
    return bool(every(tree, *_JOINING)) or _compares_a_query(tree)


# What DuckDB plans as a join; scalar subqueries besides.
_JOINING = (exp.Join, exp.In, exp.Exists, exp.Any, exp.All, exp.Except, exp.Intersect)


def _is_endless(node: exp.Expr) -> bool:
    count = node.args.get("expression")
    return isinstance(node, exp.Limit) and isinstance(count, exp.Literal) and count.name == BARRIER


def _compares_a_query(tree: exp.Expr) -> bool:
    """Whether a scalar subquery stands in an expression: DuckDB joins with it."""
    places = (exp.From, exp.Join, exp.CTE, exp.SetOperation, exp.Subquery)
    return any(not isinstance(node.parent, places) for node in every(tree, exp.Subquery) if node.parent is not None)


def scanning_twice(tree: exp.Expr) -> set[str]:
    """Optimizers of DuckDB 1.5.5 that could make two scans of a relation out of one.

    A stream can be scanned once: `max(x) OVER (PARTITION BY y)` becomes a join of the relation with itself, and finds
    it empty the second time. A WITH that is read twice below a LIMIT is computed twice.

    >>> import sqlglot
    >>> sorted(scanning_twice(sqlglot.parse_one("WITH c AS NOT MATERIALIZED (SELECT 1) SELECT sum(a) OVER () FROM c")))
    ['cte_inlining', 'window_self_join']
    """
    ctes = every(tree, exp.CTE)
    read = Counter(node.name.casefold() for node in every(tree, exp.Table) if not node.db) if ctes else Counter()
    inlined = any(
        cte.args.get("materialized") is False or (not cte.args.get("materialized") and read[cte.alias.casefold()] > 1)
        for cte in ctes
    )
    return ({"window_self_join"} if every(tree, exp.Window) else set()) | ({"cte_inlining"} if inlined else set())


def disjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    """The parts of a condition of which one must hold."""
    unnested = condition.unnest()
    if isinstance(unnested, exp.Or):
        yield from disjuncts(unnested.this)
        yield from disjuncts(unnested.expression)
    else:
        yield unnested


def bare(tree: Tree) -> Tree:
    """The same tree without positions and types, which a copy would otherwise copy node by node."""
    stack: list[exp.Expr] = [tree]
    while stack:
        node = stack.pop()
        # The public properties would make a type and a dictionary of their own.
        node._type = None  # noqa: SLF001
        if (meta := node._meta) is not None:  # noqa: SLF001
            node._meta = {key: meta[key] for key in KEPT & meta.keys()} or None  # noqa: SLF001
        for value in node.args.values():
            if value.__class__ is list:
                stack += [item for item in value if isinstance(item, exp.Expr)]
            elif isinstance(value, exp.Expr):
                stack.append(value)
    return tree
