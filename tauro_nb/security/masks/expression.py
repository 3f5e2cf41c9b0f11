"""The mask that an administrator writes in SQL."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from sqlglot import exp

from tauro_nb.errors import PolicyError
from tauro_nb.security.masks.base import MARK, Masker, MaskMark, Rank
from tauro_nb.security.masks.options import Option, text
from tauro_nb.security.masks.scope import MaskScope

__all__ = ["ExpressionMasker"]


class ExpressionMasker(Masker):
    """The value of an SQL expression over the table's raw columns, of a type that becomes the column's own.

    It is written, read and bound like a row filter: the same functions, `{principal}` and its attributes, TRY_CAST in
    place of CAST. It sees the raw values of every column, masked ones included.

    Examples
    --------
    >>> ExpressionMasker(sql="left(name, 1) || '.'")
    ExpressionMasker(...)
    """

    name = "expression"
    rank = Rank.PARTIAL
    options = MappingProxyType({"sql": Option(text)})

    def __init__(self, **options: Any) -> None:
        from tauro_nb.security.template import parse_filter

        super().__init__(**options)
        if not self.parameters["sql"].strip():
            raise PolicyError("the mask `expression`: `sql` is empty")
        self._template = parse_filter(self.parameters["sql"], "the mask `expression`")

    @property
    def personal(self) -> bool:  # type: ignore[override]
        """Whether the principal is in it."""
        return bool(self._template.slots)

    def relation_names(self) -> frozenset[str]:
        """Tables in its subqueries."""
        return self._template.relation_names()

    def mask(self, value: Any) -> None:
        """Hide one value: alone, without the rest of its row, nothing can be said about it."""

    def write(self, column: str, type: str, dialect: str = "duckdb") -> exp.Expr:
        """Refuse: an expression is written for a table, not for a column.

        Raises
        ------
        PolicyError
            Always.
        """
        raise PolicyError("the mask `expression` needs the columns of its table")

    def compile_in(self, column: str, type: str, scope: MaskScope) -> exp.Expr:
        """Bind the expression to the table's columns and give it the column's type.

        Raises
        ------
        PolicyError
            It names an unknown column, or its type cannot become the column's.
        AccessDenied
            The principal lacks an attribute that it uses.
        """
        from tauro_nb.security.binding import bind_filter

        what = f"mask of `{column}` on `{scope.table}`"
        bound = bind_filter(self._template, scope.scope, what, scope.sandbox, kind=type)
        tree = bound.tree.copy() if scope.principal is None else bound.for_principal(scope.principal)
        tree.meta[MARK] = MaskMark(self, column, type)
        return tree
