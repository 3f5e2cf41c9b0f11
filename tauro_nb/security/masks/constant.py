"""Masks that do not look at the value: NULL, the type's default, a constant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlglot import exp

from tauro_nb.errors import PolicyError
from tauro_nb.security.masks.base import HIDDEN, Masker, Rank, null_of
from tauro_nb.security.masks.compiling import trunk
from tauro_nb.security.types import data_type, is_number, is_text

__all__ = ["ConstantMasker", "DefaultMasker", "NullMasker", "constant_text"]


class NullMasker(Masker):
    """Show NULL.

    Examples
    --------
    >>> NullMasker().mask(5), NullMasker().compile("salary", "DECIMAL(15,2)").sql("duckdb")
    (None, 'CAST(NULL AS DECIMAL(15, 2))')
    """

    name = "null"
    rank = Rank.NULL
    reads = False

    def mask(self, value: Any) -> None:
        """Show nothing."""

    def write(self, column: str, type: str, dialect: str = "duckdb") -> exp.Expr:
        """Write NULL of the column's type."""
        return null_of(type)


class ConstantMasker(Masker):
    """Show the same value everywhere, NULLs included; without a value, `***` for texts and NULL for the rest.

    Examples
    --------
    >>> ConstantMasker(0).mask(71000), ConstantMasker(0).compile("salary", "BIGINT").sql("duckdb")
    (0, "CAST('0' AS BIGINT)")
    >>> ConstantMasker().mask("secret"), ConstantMasker().mask(3)
    ('***', None)
    """

    name = "constant"
    rank = Rank.CONSTANT
    reads = False

    def __init__(self, value: Any = None, /, **options: Any) -> None:
        super().__init__(**options)
        self.value = value
        self._text = None if value is None else constant_text(value)

    def mask(self, value: Any) -> Any:
        """Show the constant."""
        if self.value is None:
            # Whether a hidden number is NULL cannot show, as it becomes NULL anyway.
            return HIDDEN if value is None or isinstance(value, str) else None
        return self.value

    def write(self, column: str, type: str, dialect: str = "duckdb") -> exp.Expr:
        """Write the constant as a literal of the column's type."""
        text = self._text if self._text is not None else HIDDEN if is_text(type) else None
        return null_of(type) if text is None else _literal(text, type)

    def _key(self) -> tuple[Any, ...]:
        return (type(self), repr(self.value))

    def __repr__(self) -> str:
        # The value is policy text.
        return "ConstantMasker()" if self.value is None else "ConstantMasker(...)"


class DefaultMasker(Masker):
    """Show the same plain value of the type everywhere, NULLs included: `''`, 0, 1970-01-01, false.

    A type without such a value (a list, a struct, JSON) is shown as NULL.

    Examples
    --------
    >>> DefaultMasker().mask("secret"), DefaultMasker().mask(71000), DefaultMasker().mask(True)
    ('', 0, False)
    >>> DefaultMasker().compile("born", "DATE").sql("duckdb")
    "CAST('1970-01-01' AS DATE)"
    """

    name = "default"
    rank = Rank.CONSTANT
    reads = False

    def mask(self, value: Any) -> Any:
        """Show the default of the value's type; for NULL, whose type nobody knows, NULL."""
        kind = next((kind for kind in _PLAIN if isinstance(value, kind)), None)
        return None if kind is None else _PLAIN[kind]

    def write(self, column: str, type: str, dialect: str = "duckdb") -> exp.Expr:
        """Write the type's default as a literal."""
        text = "" if is_text(type) else "0" if is_number(type) else _DEFAULTS.get(trunk(type))
        return null_of(type) if text is None else _literal(text, type)


_DEFAULTS: Mapping[str, str] = MappingProxyType({
    "BOOLEAN": "false",
    "DATE": "1970-01-01",
    "TIME": "00:00:00",
    "TIMESTAMP": "1970-01-01 00:00:00",
    "TIMESTAMP_S": "1970-01-01 00:00:00",
    "TIMESTAMP_MS": "1970-01-01 00:00:00",
    "TIMESTAMP_NS": "1970-01-01 00:00:00",
    "TIMESTAMP WITH TIME ZONE": "1970-01-01 00:00:00+00",
    "BLOB": "",
    "UUID": str(UUID(int=0)),
})  # fmt: skip
# bool before int and datetime before date: both are subclasses.
_PLAIN: Mapping[type, Any] = MappingProxyType({
    bool: False, int: 0, float: 0.0, Decimal: Decimal(0), str: "", bytes: b"", UUID: UUID(int=0),
    datetime: datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None), date: date(1970, 1, 1), time: time(0),
})  # fmt: skip


def _literal(text: str, type: str) -> exp.Expr:
    return exp.Literal.string(text) if is_text(type) else exp.cast(exp.Literal.string(text), data_type(type))


def constant_text(value: Any) -> str:
    """Write a scalar as the text that DuckDB casts back to it.

    Raises
    ------
    PolicyError
        The value is not a scalar.

    Examples
    --------
    >>> constant_text(True), constant_text(Decimal("1.50"))
    ('true', '1.50')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date, time)):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    if isinstance(value, (str, int, float, Decimal, UUID)):
        return str(value)
    raise PolicyError(f"a {type(value).__name__} cannot stand in a policy; scalars can")
