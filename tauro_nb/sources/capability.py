"""What may be pushed to a source: a table of tree nodes with guards. What is not listed stays in the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlglot import exp

from tauro_nb.sources.keys import KeyForm
from tauro_nb.walks import copied, every

__all__ = ["MASK", "Capability", "Guard", "always", "carries_mask", "families", "family", "mask_of", "operands"]

MASK = "mask"
"""Key of a node's `meta` under which the root of a masking tree says which mask it is."""

Guard = Callable[[exp.Expr], bool]

_FAMILIES: dict[exp.DType, str] = {
    exp.DType.TINYINT: "integer",
    exp.DType.SMALLINT: "integer",
    exp.DType.INT: "integer",
    exp.DType.BIGINT: "integer",
    exp.DType.UTINYINT: "unsigned",
    exp.DType.USMALLINT: "unsigned",
    exp.DType.UINT: "unsigned",
    exp.DType.UBIGINT: "unsigned",
    exp.DType.DECIMAL: "decimal",
    exp.DType.FLOAT: "float",
    exp.DType.DOUBLE: "float",
    exp.DType.VARCHAR: "text",
    exp.DType.TEXT: "text",
    exp.DType.DATE: "date",
    exp.DType.TIMESTAMP: "timestamp",
    # What DuckDB's TIMESTAMP is parsed to.
    exp.DType.TIMESTAMPNTZ: "timestamp",
    exp.DType.BOOLEAN: "boolean",
    exp.DType.NULL: "null",
}


def family(node: exp.Expr | None) -> str:
    """The family of a node's annotated type; `other` for what no guard may rely on.

    >>> family(exp.Literal.number(1)), family(exp.column("x"))
    ('other', 'other')
    """
    kind = getattr(node, "type", None)
    return _FAMILIES.get(kind.this, "other") if isinstance(kind, exp.DataType) else "other"


def always(_: exp.Expr) -> bool:
    """A guard without a condition."""
    return True


def operands(*allowed: str) -> Guard:
    """All direct operands are of the given families; two different ones only if both are numbers."""

    def guard(node: exp.Expr) -> bool:
        found = {family(child) for child in node.iter_expressions()} - {"null"}
        numbers = {"integer", "unsigned", "decimal"}
        return found <= set(allowed) and (len(found) <= 1 or found <= numbers)

    return guard


def families(node: exp.Expr, *allowed: str) -> bool:
    """Whether the node itself is of one of the families."""
    return family(node) in allowed


class Mark(Protocol):
    """What the root of a masking tree carries."""

    @property
    def name(self) -> str:
        """The mask's name."""

    @property
    def column(self) -> str:
        """The column that it masks."""

    @property
    def type(self) -> str:
        """The DuckDB type of that column."""

    def compile_for(self, dialect: str) -> exp.Expr:
        """The mask as a tree of a dialect."""


def mask_of(node: exp.Expr) -> Mark | None:
    """What a node that is a mask is marked with."""
    # Asking for `meta` makes one: only roots of masks of texts are asked.
    return node.meta.get(MASK) if isinstance(node, exp.Case) else None


def carries_mask(tree: exp.Expr) -> bool:
    """Whether a mask stands anywhere in a tree."""
    return any(mask_of(node) is not None for node in every(tree, exp.Case))


@dataclass(frozen=True, slots=True)
class Capability:
    """The capability table of one dialect.

    Parameters
    ----------
    dialect
        sqlglot's name of it.
    nodes
        Node class -> guard. A node is pushed when the guard of its own class says so for its operands.
    masks
        Names of the masks that the source answers itself, in its own words: on the real server each gives what DuckDB
        gives. Their trees are not looked into.
    keys
        How it is asked for the rows that have one of many keys; None when it is not.
    """

    dialect: str
    nodes: Mapping[type[exp.Expr], Guard]
    masks: frozenset[str] = frozenset()
    keys: KeyForm | None = None

    def masks_alike(self, node: exp.Expr) -> bool:
        """Whether a node is a mask that is proven here, over nothing but its own column, a text that is one here too.

        >>> Capability("postgres", {}).masks_alike(exp.Case())
        False
        """
        mark = mask_of(node)
        if mark is None or mark.name not in self.masks:
            return False
        columns = every(node, exp.Column)
        return bool(columns) and all(column.name == mark.column and family(column) == "text" for column in columns)

    def translate_masks(self, tree: exp.Expr) -> exp.Expr:
        """Put the source's own words in the place of the masks of a fragment that was let through, in place."""
        for node in every(tree, exp.Case):
            mark, column = mask_of(node), node.find(exp.Column)
            if mark is None or mark.name not in self.masks or column is None:
                continue
            said = mark.compile_for(self.dialect)
            for place in every(said, exp.Column):
                place.replace(copied(column))
            node.replace(said)
        return tree

    def refusal(self, tree: exp.Expr) -> str | None:
        """Why `tree` (with types annotated) may not be pushed; None when it may."""
        nodes = [tree]
        for node in nodes:
            if self.masks_alike(node):
                continue
            # The list grows while it is read, as in a walk by levels.
            nodes += node.iter_expressions()
            guard = self.nodes.get(type(node))
            if guard is None:
                return f"{node.key.upper()} is not on the list for {self.dialect}"
            if not guard(node):
                kinds = ", ".join(sorted({family(child) for child in node.iter_expressions()})) or "this form"
                return f"{node.key.upper()} of {kinds} is not on the list for {self.dialect}"
        return None
