"""Masks that take a key: pseudonyms that can be joined (`hmac`, `hmac_ephemeral`) and opened again (`token`)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

from sqlglot import exp, parse_one

from tauro_nb.errors import PolicyError
from tauro_nb.security.cipher import FieldSpec
from tauro_nb.security.functions import ENCRYPT, HMAC, call
from tauro_nb.security.keys.entry import Slot, is_name
from tauro_nb.security.keys.ring import KeyRing
from tauro_nb.security.masks.base import Masker, Rank, null_of
from tauro_nb.security.masks.compiling import trunk
from tauro_nb.security.masks.options import Option
from tauro_nb.security.masks.scope import MaskScope
from tauro_nb.security.types import data_type, is_text

__all__ = ["EphemeralHmacMasker", "HmacMasker", "TokenMasker"]

_DIGITS = 15
# Changes with every query and stays the same throughout one, whichever thread or column asks.
_ONCE = "concat(txid_current(), ':', epoch_us(now()), ':')"


def domain(value: Any) -> str:
    """The name of columns that share a key."""
    if isinstance(value, str) and value and is_name(value):
        return value
    raise ValueError("a name of 1 to 200 characters")


class _KeyedMasker(Masker):
    """A mask whose tree names a key of the principal's tenant by its handle."""

    rank = Rank.KEYED
    joinable = True
    options = MappingProxyType({"domain": Option(domain, None)})
    # Each tenant has keys of its own.
    personal: ClassVar[bool] = True

    def mask(self, value: Any) -> None:
        """Hide one value: alone, without keys, nothing can be said about it."""

    def write(self, column: str, type: str, dialect: str = "duckdb") -> exp.Expr:
        """Refuse: keys belong to a layer, not to a column.

        Raises
        ------
        PolicyError
            Always.
        """
        raise PolicyError(f"the mask `{self.name}` needs keys")

    def compile_in(self, column: str, type: str, scope: MaskScope) -> exp.Expr:
        """Write the mask with the handle of a key; over a type it does not take, NULL of that type.

        Raises
        ------
        PolicyError
            There are no keys.
        """
        if scope.ring is None:
            raise PolicyError(f"the mask `{self.name}` needs keys")
        tenant = scope.principal.tenant if scope.principal is not None else None
        shared = self.parameters["domain"]
        return self.keyed(
            FieldSpec(scope.table, column, type, tenant or "", shared or "", joined=bool(shared)), scope.ring
        )

    @abstractmethod
    def keyed(self, spec: FieldSpec, ring: KeyRing) -> exp.Expr:
        """Write the mask of a column with the keys of a ring."""


class HmacMasker(_KeyedMasker):
    """A pseudonym: HMAC-SHA256 of the value under a key of the tenant and the domain, the column's own without one.

    Equal values of a domain have equal pseudonyms, in every table and query, so that joins on them find what joins on
    the values would; those of another tenant differ. Texts become 64 hexadecimal digits, whole numbers of at least 64
    bits one of 60 bits, UUIDs a UUID. Narrower numbers would collide: they are NULL unless declared as BIGINT.

    Examples
    --------
    >>> HmacMasker(domain="person")
    HmacMasker(...)
    """

    name = "hmac"
    salt: ClassVar[str] = ""

    def keyed(self, spec: FieldSpec, ring: KeyRing) -> exp.Expr:
        """Write the mask of a column with the keys of a ring."""
        shape = _SHAPES.get("VARCHAR" if is_text(spec.type) else trunk(spec.type))
        if shape is None:
            return null_of(spec.type)
        value: exp.Expr = exp.column(spec.column, quoted=True)
        if not is_text(spec.type):
            value = exp.cast(value, data_type("VARCHAR"))
        handle = ring.handle(self.slot(spec))
        return shape(call(HMAC, handle, self.salted(value)), spec.type)

    def slot(self, spec: FieldSpec) -> Slot:
        """Whose key it is."""
        return Slot("hmac", spec.tenant, spec.slot.domain)

    def salted(self, value: exp.Expr) -> exp.Expr:
        """What is hashed."""
        return value


class EphemeralHmacMasker(HmacMasker):
    """A pseudonym for one query: what `hmac` gives, and something else the next time.

    Within a query columns of one domain can be joined and grouped; nothing can be collected over several.

    Examples
    --------
    >>> EphemeralHmacMasker(domain="person")
    EphemeralHmacMasker(...)
    """

    name = "hmac_ephemeral"

    def slot(self, spec: FieldSpec) -> Slot:
        """Whose key it is: never that of `hmac`, which would answer a value that looks like a salted one."""
        return Slot("hmac", spec.tenant, f"{spec.slot.domain}#ephemeral")

    def salted(self, value: exp.Expr) -> exp.Expr:
        """What is hashed: the value, with the query before it. NULL must stay NULL, as with `||`."""
        return exp.DPipe(this=parse_one(_ONCE, dialect="duckdb"), expression=value, safe=True)


class TokenMasker(_KeyedMasker):
    """The value encrypted with AES-SIV: equal for equal values of a domain, and whoever holds the key can open it.

    It is what an encrypted, searchable column shows, as a mask: the length of a value shows. Texts only.

    Examples
    --------
    >>> TokenMasker(domain="person")
    TokenMasker(...)
    """

    name = "token"

    def keyed(self, spec: FieldSpec, ring: KeyRing) -> exp.Expr:
        """Write the mask of a column with the keys of a ring."""
        if not is_text(spec.type):
            return null_of(spec.type)
        handle = ring.handle(replace(spec, type="VARCHAR", searchable=True))
        return call(ENCRYPT, handle, exp.column(spec.column, quoted=True))


def _as_text(digest: exp.Expr, _: str) -> exp.Expr:
    return digest


def _as_number(digest: exp.Expr, type: str) -> exp.Expr:
    """A number of 60 bits, which every type of 64 and more can hold: the same in each of them."""
    digits = exp.DPipe(this=exp.Literal.string("0x"), expression=_first(digest, _DIGITS), safe=True)
    # DuckDB reads hexadecimal digits as BIGINT only.
    return exp.TryCast(this=exp.TryCast(this=digits, to=data_type("BIGINT")), to=data_type(type))


def _as_uuid(digest: exp.Expr, type: str) -> exp.Expr:
    return exp.TryCast(this=_first(digest, 32), to=data_type(type))


def _first(text: exp.Expr, length: int) -> exp.Expr:
    return exp.Substring(this=text, start=exp.Literal.number(1), length=exp.Literal.number(length))


_SHAPES: Mapping[str, Callable[[exp.Expr, str], exp.Expr]] = MappingProxyType(
    {
        "VARCHAR": _as_text,
        "BIGINT": _as_number,
        "UBIGINT": _as_number,
        "HUGEINT": _as_number,
        "UHUGEINT": _as_number,
        "UUID": _as_uuid,
    }
)
"""How a digest becomes a value of the column's type."""
