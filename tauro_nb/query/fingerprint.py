"""A query without its values: what logs may keep."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Final

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator

from tauro_nb.walks import copied

__all__ = ["VALUES", "fingerprint", "statement_of"]

VALUES: Final = (
    exp.Literal, exp.RawString, exp.ByteString, exp.BitString, exp.HexString, exp.UnicodeString, exp.National,
    exp.Heredoc, exp.JSONPath,
)  # fmt: skip
"""Nodes that hold a value as it was typed."""


def statement_of(tree: exp.Expr) -> str:
    """SQL with every literal replaced by `?`.

    >>> import sqlglot
    >>> statement_of(sqlglot.parse_one("select * from t where ssn = '123' limit 5"))
    'SELECT * FROM t WHERE ssn = ? LIMIT ?'
    >>> statement_of(sqlglot.parse_one("SELECT $$a$$, e'b', j -> '$.c', '1'::INT", dialect="duckdb"))
    'SELECT ?, ?, j -> ?, CAST(? AS INT)'
    """
    return _Shape(dialect="duckdb", comments=False).generate(copied(tree), copy=False)


class _Shape(DuckDBGenerator):
    """Writes SQL as DuckDB does, without values."""

    def _blank(self, *_: Any, **__: Any) -> str:
        return "?"

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
