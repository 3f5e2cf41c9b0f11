"""A query without its values: what logs may keep."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, ClassVar, Final

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator

from tauro_nb.walks import copied, every

__all__ = ["VALUES", "apart", "fingerprint", "statement_of"]

VALUES: Final = (
    exp.Literal, exp.RawString, exp.ByteString, exp.BitString, exp.HexString, exp.UnicodeString, exp.National,
    exp.Heredoc, exp.JSONPath,
)  # fmt: skip
"""Nodes that hold a value as it was typed."""


def apart(tree: exp.Expr) -> tuple[str, tuple[exp.Expr, ...]]:
    """SQL with every literal replaced by `?`, and the literals in that order.

    >>> import sqlglot
    >>> statement, literals = apart(sqlglot.parse_one("select * from t where ssn = '123' limit 5"))
    >>> statement, [literal.name for literal in literals]
    ('SELECT * FROM t WHERE ssn = ? LIMIT ?', ['123', '5'])
    >>> apart(sqlglot.parse_one("SELECT $$a$$, e'b', j -> '$.c', '1'::INT", dialect="duckdb"))[0]
    'SELECT ?, ?, j -> ?, CAST(? AS INT)'
    """
    own = copied(tree)
    literals = every(own, *VALUES)
    shape = _Shape(dialect="duckdb", comments=False)
    texts = shape.generate(own, copy=False).split(shape.mark)
    written = [shape.literals[int(place)] for place in texts[1::2]]
    if len(written) < len(literals):
        # What the generator leaves out is no less part of the query.
        known = set(written)
        written += [literal for literal in literals if literal not in known]
    return "?".join(texts[::2]), tuple(written)


def statement_of(tree: exp.Expr) -> str:
    """SQL with every literal replaced by `?`."""
    return apart(tree)[0]


class _Shape(DuckDBGenerator):
    """Writes SQL as DuckDB does, with the place among its literals for each value."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.literals: list[exp.Expr] = []
        # Nobody can have it in a name.
        self.mark: Final = secrets.token_hex(8)

    def _blank(self, expression: Any, *_: Any, **__: Any) -> str:
        self.literals.append(expression)
        return f"{self.mark}{len(self.literals) - 1}{self.mark}"

    # Every way to write a value, also those that only other dialects have: a tree may come from anywhere.
    literal_sql = rawstring_sql = bytestring_sql = bitstring_sql = hexstring_sql = _blank
    unicodestring_sql = national_sql = heredoc_sql = jsonpath_sql = _blank
    TRANSFORMS: ClassVar = {kind: how for kind, how in DuckDBGenerator.TRANSFORMS.items() if kind not in VALUES}


def fingerprint(statement: str) -> str:
    """A short stable name for all queries of one shape.

    >>> fingerprint("SELECT ?") == fingerprint("SELECT ?")
    True
    """
    return hashlib.sha256(statement.encode()).hexdigest()[:16]
