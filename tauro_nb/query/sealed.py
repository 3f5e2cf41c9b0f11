"""What a condition on a column that is encrypted at its source says of the ciphertext there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from tauro_nb.query.trees import conjuncts, disjuncts
from tauro_nb.security.cipher import Cipher
from tauro_nb.security.encryption import opened_spec
from tauro_nb.security.types import data_type, is_integer
from tauro_nb.security.written import written

if TYPE_CHECKING:
    from tauro_nb.security.keys.ring import KeyRing

__all__ = ["sealed_condition"]

_MOST_TOKENS = 10_000


def sealed_condition(
    part: exp.Expr, values: Mapping[str, exp.Expr], params: Mapping[str, Any], ring: KeyRing
) -> exp.Expr | None:
    """A condition on ciphertext that holds wherever `part` does; None where nothing can be said.

    An equality with a value is one with the tokens that the value has under each key that still decrypts, so that rows
    from before a rotation are found. What is found is opened and compared again above.

    Parameters
    ----------
    part
        A condition over the outputs of one leaf.
    values
        Output in lower case -> the expression that computes it inside of the leaf.
    params
        The query's parameters.
    ring
        The keys.
    """
    node = part.unnest()
    if isinstance(node, exp.Or):
        branches = [sealed_condition(branch, values, params, ring) for branch in disjuncts(node)]
        known = [branch for branch in branches if branch is not None]
        return exp.paren(exp.or_(*known, copy=False)) if len(known) == len(branches) else None
    if isinstance(node, exp.And):
        parts = [sealed_condition(branch, values, params, ring) for branch in conjuncts(node)]
        known = [branch for branch in parts if branch is not None]
        return exp.and_(*known, copy=False) if known else None
    found = _compared(node)
    if found is None:
        return None
    column, given = found
    opened = opened_spec(values.get(column.name.lower()), ring)
    if opened is None or not opened.spec.searchable:
        return None
    texts = [written(_value(item, opened.spec.type, params), opened.spec.type) for item in given]
    cipher = Cipher(opened.spec, ring)
    tokens = [token for text in dict.fromkeys(texts) if text is not None for token in cipher.tokens(text)]
    if None in texts or not tokens or len(tokens) > _MOST_TOKENS:
        return None
    return _among(opened.column, tokens)


def _compared(node: exp.Expr) -> tuple[exp.Column, list[exp.Expr]] | None:
    """The column of `column = value`, `value = column` or `column IN (values)`, and the values."""
    if isinstance(node, exp.EQ):
        sides = [side.unnest() for side in (node.this, node.expression)]
        column, value = sides if isinstance(sides[0], exp.Column) else reversed(sides)
        return (column, [value]) if isinstance(column, exp.Column) and not isinstance(value, exp.Column) else None
    if isinstance(node, exp.In) and isinstance(node.this, exp.Column) and node.expressions:
        return node.this, list(node.expressions)
    return None


def _value(node: exp.Expr, type: str, params: Mapping[str, Any]) -> Any:
    """The value of a literal or a parameter; None for everything else.

    A text that DuckDB would convert to the column's type is taken as it is, and so only if it is written as tokens are.
    A literal of another type may have DuckDB convert the column instead: `name = DATE '2024-02-29'`.
    """
    node = node.unnest()
    if isinstance(node, exp.Placeholder):
        return params.get(node.name)
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal) and _is_of(node.to, type):
        node = node.this
    sign = -1 if isinstance(node, exp.Neg) else 1
    number = node.this if isinstance(node, exp.Neg) else node
    if not isinstance(number, exp.Literal):
        return None
    if number.is_string:
        return number.name if sign == 1 else None
    return sign * int(number.name) if number.is_int else None


def _is_of(kind: exp.DataType, type: str) -> bool:
    """Whether the type of a cast is that of the column, or both are whole numbers."""
    name = kind.sql("duckdb")
    return kind == data_type(type) or (is_integer(name) and is_integer(type))


def _among(column: exp.Column, tokens: list[str]) -> exp.Expr:
    literals: list[exp.Expr] = [exp.Literal.string(token) for token in tokens]
    if len(literals) == 1:
        return exp.EQ(this=column.copy(), expression=literals[0])
    return exp.In(this=column.copy(), expressions=literals)
