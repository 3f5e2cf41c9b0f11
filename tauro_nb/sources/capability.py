"""What may be pushed to a source: a table of tree nodes with guards. What is not listed stays in the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlglot import exp

__all__ = ["Capability", "Guard", "always", "families", "family", "operands"]

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


@dataclass(frozen=True, slots=True)
class Capability:
    """The capability table of one dialect.

    Parameters
    ----------
    dialect
        sqlglot's name of it.
    nodes
        Node class -> guard. A node is pushed when the guard of its own class says so for its operands.
    barrier
        How a fence is written: the LIMIT a leaf gets, or None to use OFFSET 0.
    """

    dialect: str
    nodes: Mapping[type[exp.Expr], Guard]
    barrier: str | None = None

    def refusal(self, tree: exp.Expr) -> str | None:
        """Why `tree` (with types annotated) may not be pushed; None when it may."""
        for node in tree.walk():
            guard = self.nodes.get(type(node))
            if guard is None:
                return f"{node.key.upper()} is not on the list for {self.dialect}"
            if not guard(node):
                kinds = ", ".join(sorted({family(child) for child in node.iter_expressions()})) or "this form"
                return f"{node.key.upper()} of {kinds} is not on the list for {self.dialect}"
        return None
