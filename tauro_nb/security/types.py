"""DuckDB type texts as sqlglot trees."""

from __future__ import annotations

import re

from sqlglot import exp
from sqlglot.errors import SqlglotError

from tauro_nb.errors import PolicyError

__all__ = ["UNTYPED", "data_type", "is_integer", "is_number", "is_text"]

# The type of a column that holds nothing but NULLs: it may be compared with anything.
UNTYPED = '"NULL"'
_NAME = re.compile(r"[A-Za-z_]\w*")
_TEXTS = frozenset({"VARCHAR", "TEXT", "STRING", "CHAR", "BPCHAR"})
_INTEGERS = frozenset(
    ["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"]
)
_NUMBERS = _INTEGERS | {"DECIMAL", "FLOAT", "DOUBLE"}


def data_type(text: str) -> exp.DataType:
    """Parse a DuckDB type.

    Raises
    ------
    PolicyError
        The text is not a type.

    Examples
    --------
    >>> data_type("DECIMAL(15,2)").sql("duckdb")
    'DECIMAL(15, 2)'
    """
    try:
        found = exp.DataType.build(text, dialect="duckdb", udt=True)
    except (SqlglotError, ValueError, AttributeError):
        raise PolicyError(f"`{text}` is not a type") from None
    # The parser keeps a type it does not know as it is written: only a name may stand there.
    if found.this == exp.DType.USERDEFINED and text != UNTYPED and not _NAME.fullmatch(text.strip()):
        raise PolicyError(f"`{text}` is not a type")
    return found


def is_text(text: str) -> bool:
    """Whether it is VARCHAR, with or without a length.

    Examples
    --------
    >>> is_text("VARCHAR(20)"), is_text("VARCHAR[]"), is_text("INTEGER")
    (True, False, False)
    """
    return not text.rstrip().endswith("]") and _base(text) in _TEXTS


def is_integer(text: str) -> bool:
    """Whether it is a whole number."""
    return not text.rstrip().endswith("]") and _base(text) in _INTEGERS


def is_number(text: str) -> bool:
    """Whether it is a number."""
    return not text.rstrip().endswith("]") and _base(text) in _NUMBERS


def _base(text: str) -> str:
    return text.partition("(")[0].strip().upper()
