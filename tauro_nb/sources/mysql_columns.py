"""Columns of MySQL and MariaDB: how conditions must see their values, and how the values are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from sqlglot import exp

__all__ = ["Column", "as_bytes", "as_text", "as_utf8", "columns_of_answer"]

# Longer values may be sorted and grouped by their first 1024 bytes only (`max_sort_length`).
_SORTED_CHARACTERS: Final = 255
_DECIMAL_DIGITS: Final = 38


def as_utf8(node: exp.Expr) -> exp.Expr:
    """Text in the character set that DuckDB has, with a collation that the scanner does not take for bytes."""
    kind = exp.DataType(this=exp.DType.CHARACTER_SET, kind=exp.Var(this="utf8mb4"))
    return exp.Cast(this=node, to=kind)


def as_text(node: exp.Expr) -> exp.Expr:
    """A number, a time or an address, written out."""
    return exp.cast(node, "CHAR", dialect="mysql")


def as_bytes(node: exp.Expr) -> exp.Expr:
    """UTF-8 bytes: equal when all bytes are, in the order of code points, as text is in DuckDB."""
    return exp.cast(node, "BINARY", dialect="mysql")


def _same(node: exp.Expr) -> exp.Expr:
    return node


def _text(node: exp.Expr) -> exp.Expr:
    return as_bytes(as_utf8(node))


def _written(node: exp.Expr) -> exp.Expr:
    return as_utf8(as_text(node))


def _truth(node: exp.Expr) -> exp.Expr:
    """Any number but 0 is true, as it is when it arrives."""
    return exp.Paren(this=exp.NEQ(this=node, expression=exp.Literal.number(0)))


def _number(node: exp.Expr) -> exp.Expr:
    """A YEAR as a number: compared with a YEAR, 70 means 1970."""
    return exp.Paren(this=exp.Add(this=node, expression=exp.Literal.number(0)))


def _real_date(node: exp.Expr) -> exp.Expr:
    """NULL for 0000-00-00 and 2024-00-15, which arrive as NULL."""
    days = exp.Anonymous(this="TO_DAYS", expressions=[node.copy()])
    return exp.Anonymous(this="IF", expressions=[exp.Is(this=days, expression=exp.null()), exp.null(), node])


Shape = Callable[[exp.Expr], exp.Expr]


@dataclass(frozen=True, slots=True)
class _Form:
    """How conditions see values of a type, how they are sent, and whether the first decide as in DuckDB."""

    exact: bool = True
    inside: Shape = _same
    outside: Shape = _same


_NUMBER: Final = _Form()
_BYTES: Final = _Form(exact=False)
_DATE: Final = _Form(inside=_real_date)
_TEXT: Final = _Form(inside=_text)
_ADDRESS: Final = _Form(inside=lambda node: as_bytes(_written(node)), outside=_written)
_BOOLEAN: Final = _Form(inside=_truth)

_FORMS: Final = MappingProxyType(
    dict.fromkeys("tinyint smallint mediumint int bigint decimal float double".split(), _NUMBER)
    | dict.fromkeys("char varchar tinytext text mediumtext longtext enum set".split(), _TEXT)
    | dict.fromkeys("date datetime timestamp".split(), _DATE)
    | dict.fromkeys("uuid inet4 inet6".split(), _ADDRESS)
    | {
        "year": _Form(inside=_number),
        "json": _Form(exact=False, inside=_text, outside=as_utf8),
        "time": _Form(exact=False, inside=lambda node: as_bytes(_written(node)), outside=_written),
    }
)
"""By the server's name of a type. Bytes, bits, geometries and what is not listed come as they are."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the server describes it.

    Parameters
    ----------
    name, data_type, column_type
        As in `information_schema.COLUMNS`: `n`, `int`, `int(10) unsigned`.
    collation
        Of text; None for everything else.
    length
        Characters that fit into text.
    precision
        Digits of a number.
    """

    name: str
    data_type: str
    column_type: str
    collation: str | None = None
    length: int | None = None
    precision: int | None = None

    @property
    def form(self) -> _Form:
        """Its row of the table."""
        if self.column_type in {"tinyint(1)", "bit(1)"}:
            return _BOOLEAN
        return _FORMS.get(self.data_type, _BYTES)

    @property
    def is_text(self) -> bool:
        """Whether it has a collation, so that the server compares it unlike DuckDB."""
        return self.form is _TEXT

    @property
    def is_date(self) -> bool:
        """Whether it may hold dates that do not exist."""
        return self.form is _DATE

    @property
    def is_exact(self) -> bool:
        """Whether conditions at the server decide as in DuckDB."""
        if self.is_text and self.data_type not in {"enum", "set"}:
            return (self.length or _SORTED_CHARACTERS + 1) <= _SORTED_CHARACTERS
        if self.data_type == "decimal" and (self.precision or 0) > _DECIMAL_DIGITS:
            return False
        return self.form.exact

    def arrives_as(self, kind: str) -> bool:
        """Whether the scanner's type is the one that conditions at the server are written for."""
        if self.data_type in {"decimal", "tinyint", "bit"}:
            return kind.startswith("DECIMAL") if self.data_type == "decimal" else (kind == "BOOLEAN") == self.is_truth
        return True

    @property
    def is_truth(self) -> bool:
        """Whether it is how these servers write BOOLEAN."""
        return self.form is _BOOLEAN

    def node(self) -> exp.Expr:
        """The column by its bare name."""
        return exp.column(exp.to_identifier(self.name, quoted=True))

    def inside(self, node: exp.Expr) -> exp.Expr:
        """The value as conditions, groups and sort keys must see it."""
        return self.form.inside(node)

    def outside(self, node: exp.Expr) -> exp.Expr:
        """The value as it is sent; text with a binary collation would arrive as bytes."""
        if self.is_text and (self.collation or "").endswith("_bin"):
            return as_utf8(node)
        return self.form.outside(node)

    def takes(self, text: str) -> bool:
        """Whether a literal may be compared with the column itself, without an illegal mix of collations."""
        return text.isascii() or (self.collation or "").startswith("utf8mb4")


# Names of types by their number in the protocol; texts and bytes are told apart by the character set.
_PROTOCOL: Final = MappingProxyType(
    {
        0: "decimal", 1: "tinyint", 2: "smallint", 3: "int", 4: "float", 5: "double", 7: "timestamp", 8: "bigint",
        9: "mediumint", 10: "date", 11: "time", 12: "datetime", 13: "year", 16: "bit", 245: "json", 246: "decimal",
        249: "text", 250: "text", 251: "text", 252: "text", 253: "varchar", 254: "char", 255: "geometry",
    }
)  # fmt: skip
_BINARY_CHARSET: Final = 63
_UNSIGNED: Final = 32


def columns_of_answer(fields: Iterable[Any]) -> list[Column]:
    """Columns of any query, from what the protocol says of its answer (`pymysql`'s field descriptors)."""
    return [_answered(field) for field in fields]


def _answered(field: Any) -> Column:
    kind = _PROTOCOL.get(field.type_code, "blob")
    texts = {"text", "varchar", "char"}
    if kind in texts and field.charsetnr == _BINARY_CHARSET:
        kind = "blob"
    narrow = field.length == 1 and kind in {"tinyint", "bit"} and not field.flags & _UNSIGNED
    full = f"{kind}(1)" if narrow else kind
    # Which collation is not said; sending it as UTF-8 is right for every one.
    collation = "unknown_bin" if kind in texts else None
    return Column(field.name, kind, full, collation, field.length // 4 if kind in texts else None, field.length)
