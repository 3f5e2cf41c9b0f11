"""How relations are named inside a tree, and how a tree is shown to people."""

from __future__ import annotations

import string
from typing import Final

from sqlglot import exp

from tauro_nb.security.functions import without_handles

__all__ = [
    "ANSWERS",
    "COLUMNS",
    "FRAGMENT",
    "LOCAL",
    "MARKER",
    "RAW",
    "STEP",
    "VISIBLE",
    "display_sql",
    "folded",
    "frame_name",
    "handed_table",
    "is_leaf",
    "leaf_kind",
    "leaf_table",
    "unmarked",
]

# A relation of a bound tree carries one of these as its schema part. User text cannot spell
# them: names are looked up in the catalog first, and whatever is not found is refused.
VISIBLE = "~visible"
"""A virtual table as the principal sees it (between bind and secure)."""
RAW = "~raw"
"""A virtual table as its source has it (inside a secured leaf)."""
LOCAL = "~local"
"""A table handed over with the query itself (an Ibis memtable, a frame)."""
FRAGMENT = "~fragment"
"""The answer of a fragment (in the residual)."""

COLUMNS = "columns"
"""Key of a node's `meta`: the columns that a qualified query uses of a virtual table, in lower case."""

ANSWERS = "answers"
"""Key of a node's `meta`: the fragment whose answer the relation is."""

STEP = "~step"
"""The rows of a step that ran before (in the residual and in later steps)."""

HANDED = "main"
"""Schema (of the engine's `temp` catalog) where streams and frames are registered. In a tree they are always
written with catalog and schema, so that no CTE of the user can take their name."""

MARKER = "[REDACTED]"
"""Stands, in what is shown, for everything a policy does to one relation: hidden rows, masks, the barrier."""

_FOLDING: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_MARKS = (VISIBLE, RAW, LOCAL, FRAGMENT, STEP)


def leaf_table(name: str, kind: str, alias: str | None = None) -> exp.Table:
    """Build the relation node for a virtual table.

    >>> leaf_table("crm.customers", RAW, "c").sql("duckdb")
    '"~raw"."crm.customers" AS "c"'
    """
    node = exp.Table(this=exp.Identifier(this=name, quoted=True), db=exp.Identifier(this=kind, quoted=True))
    if alias is not None:
        node.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
    return node


def folded(name: str) -> str:
    """A name as DuckDB compares names: of A to Z alone the case does not count.

    Python has other letters become these: a name that is one for it may be two for DuckDB.

    >>> folded("Kind") == folded("kIND"), "\N{KELVIN SIGN}ind".lower() == "kind", folded("\N{KELVIN SIGN}ind") == "kind"
    (True, True, False)
    """
    return name.translate(_FOLDING)


def leaf_kind(node: exp.Expr) -> str | None:
    """The mark of a resolved relation, None for everything else."""
    mark = node.args.get("db") if isinstance(node, exp.Table) else None
    kind: str | None = mark.args["this"] if mark.__class__ is exp.Identifier else None
    return kind if kind in _MARKS else None


def is_leaf(node: exp.Expr | None) -> bool:
    """Whether a query is what stands for one virtual table once it is secured: a SELECT from its raw table.

    >>> is_leaf(exp.select("a").from_(leaf_table("t", RAW, "_"))), is_leaf(exp.select("a").from_("t"))
    (True, False)
    """
    if not isinstance(node, exp.Select) or node.args.get("joins"):
        return False
    source = node.args.get("from_")
    return source is not None and leaf_kind(source.this) == RAW


def handed_table(name: str) -> exp.Table:
    """The relation of something registered with the engine for one query.

    >>> handed_table("f0").sql("duckdb")
    '"temp"."main"."f0"'
    """
    parts = (exp.to_identifier(part, quoted=True) for part in (name, HANDED, "temp"))
    return exp.Table(**dict(zip(("this", "db", "catalog"), parts, strict=True)))


def frame_name(name: str) -> str:
    """Under which name a frame is registered; apart from streams, whatever people call their frames."""
    return f"frame {name}"


def display_sql(tree: exp.Expr, *, pretty: bool = False) -> str:
    """SQL for people: virtual names without the marks of bound relations.

    >>> display_sql(exp.select("*").from_(leaf_table("customers", RAW)))
    'SELECT * FROM "customers"'
    """
    text = tree.sql("duckdb", pretty=pretty)
    if not pretty and text.count(MARKER) > 1:
        # A line with several markers would tell how many parts a policy has.
        text = tree.sql("duckdb", pretty=True)
    return unmarked(text)


def unmarked(text: str) -> str:
    """Text without the marks of bound relations.

    >>> unmarked('(SELECT max(a) FROM "~visible".t)')
    '(SELECT max(a) FROM t)'
    """
    for mark in _MARKS:
        text = text.replace(f'"{mark}".', "")
    return without_handles(text)
