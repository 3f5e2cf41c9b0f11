"""The condition under which a column is masked."""

from __future__ import annotations

from sqlglot import exp

__all__ = ["shown_when"]


def shown_when(masked: exp.Expr, condition: exp.Expr, column: str) -> exp.Expr:
    """Mask a column except where a condition is definitely false; where it is NULL the column is masked.

    Parameters
    ----------
    masked
        The mask's tree.
    condition
        When to mask, over the raw columns of the table.
    column
        The raw column.

    Examples
    --------
    >>> shown_when(exp.null(), exp.column("vip", quoted=True), "email").sql("duckdb")
    'CASE WHEN NOT ("vip") THEN "email" ELSE NULL END'
    """
    clear = exp.not_(exp.paren(condition, copy=False), copy=False)
    return exp.Case(ifs=[exp.If(this=clear, true=exp.column(column, quoted=True))], default=masked)
