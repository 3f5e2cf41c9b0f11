r"""Masks of texts made of digits: telephone and social security numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import reduce
from itertools import product
from operator import or_
from typing import TYPE_CHECKING

from tauro_nb.security.masks.base import TextMasker
from tauro_nb.security.masks.compiling import fits_glob, tail, unbroken

if TYPE_CHECKING:
    from ibis.expr.types import BooleanValue, StringColumn

    from tauro_nb.security.masks.base import Branches

__all__ = ["PhoneMasker", "SSNMasker"]

# No alternative of these can match the same text in two ways, so Python's engine stays linear as well.
_PHONE = r"^[ ().+/-]*(?:[0-9][ ().+/-]*){3,}[0-9]{4}\z"
_SSN = r"^[0-9]{3}[ -]?[0-9]{2}[ -]?[0-9]{4}\z"
_BETWEEN = " ().+/-"
_DIGIT = "[0-9]"
_SSN_FORMS = tuple(
    _DIGIT * 3 + first + _DIGIT * 2 + second + _DIGIT * 4 for first, second in product(("-", " ", ""), repeat=2)
)


# Fits `_PHONE`, and is found in a third of the time; where numbers are written otherwise, asking costs a tenth.
_PHONE_FORM = "+d (ddd) ddd-dddd".replace("d", _DIGIT)


class PhoneMasker(TextMasker):
    """Keep the last four digits; fewer than seven digits, or anything but digits and separators, is hidden.

    Examples
    --------
    >>> [PhoneMasker().mask(text) for text in ("+1 (555) 123-1234", "1234", None)]
    ['****1234', '****', None]
    """

    name = "phone"

    def mask_text(self, text: str) -> str:
        """Hide one number."""
        return f"****{text[-4:]}" if _matches(_PHONE, text) else "****"

    def branches(self, column: StringColumn, type: str, dialect: str) -> Branches:
        """Write the mask as Ibis expressions; at DuckDB the usual form is tried first."""
        import ibis

        if dialect == "sqlite":  # it has no regular expressions
            fits = unbroken(column, dialect) & ~fits_glob(column, f"*[^0-9{_BETWEEN}]*")
            for pattern in (f"*{_DIGIT * 4}", f"*{f'{_DIGIT}*' * 3}{_DIGIT * 4}"):
                fits &= fits_glob(column, pattern)
        else:
            fits = _matched(column, _PHONE, dialect)
        if dialect == "duckdb":
            fits = fits_glob(column, _PHONE_FORM) | fits
        return [(fits, ibis.literal("****") + tail(column, 4, dialect))], "****"


class SSNMasker(TextMasker):
    """Keep the last four digits of nine; anything else is hidden.

    Examples
    --------
    >>> [SSNMasker().mask(text) for text in ("123-45-5678", "123455678", "5678", None)]
    ['***-**-5678', '***-**-5678', '***-**-****', None]
    """

    name = "ssn"

    def mask_text(self, text: str) -> str:
        """Hide one number."""
        return f"***-**-{text[-4:]}" if _matches(_SSN, text) else "***-**-****"

    def branches(self, column: StringColumn, type: str, dialect: str) -> Branches:
        """Write the mask as Ibis expressions.

        At DuckDB the form that most numbers have is tried first, for it is found twice as fast as the others.
        """
        import ibis

        if dialect == "sqlite":
            fits = unbroken(column, dialect) & _any(fits_glob(column, form) for form in _SSN_FORMS)
        else:
            fits = _matched(column, _SSN, dialect)
        if dialect == "duckdb":
            fits = fits_glob(column, _SSN_FORMS[0]) | fits
        return [(fits, ibis.literal("***-**-") + tail(column, 4, dialect))], "***-**-****"


def _matched(column: StringColumn, pattern: str, dialect: str) -> BooleanValue:
    """Whether a text is of a form that ends in a digit.

    What a backslash is at MySQL, its `sql_mode` decides; `$` needs none, and lets line breaks pass at the end. This
    function MariaDB has, too, unlike REGEXP_LIKE.
    """
    import ibis

    @ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
    def regexp_instr(text: str, pattern: str) -> int:
        raise NotImplementedError

    if dialect != "mysql":
        return column.re_search(_pattern(pattern, dialect))
    place = regexp_instr(column, pattern.replace(r"\z", "$"))
    found: BooleanValue = (place == 1) & tail(column, 1, dialect).between("0", "9")
    return found


def _pattern(pattern: str, dialect: str) -> str:
    r"""RE2 writes "the very end" \z, Python and PostgreSQL \Z; `$` would let a final newline pass."""
    return pattern if dialect == "duckdb" else pattern.replace(r"\z", r"\Z")


def _matches(pattern: str, text: str) -> bool:
    return re.search(_pattern(pattern, "python"), text) is not None


def _any(conditions: Iterable[BooleanValue]) -> BooleanValue:
    return reduce(or_, conditions)
