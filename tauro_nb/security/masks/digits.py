r"""Masks of texts made of digits: telephone and social security numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tauro_nb.security.masks.base import TextMasker

if TYPE_CHECKING:
    from ibis.expr.types import StringColumn, StringValue

__all__ = ["PhoneMasker", "SSNMasker"]

# No alternative of these can match the same text in two ways, so Python's engine stays linear as well.
_PHONE = r"^[ ().+/-]*(?:[0-9][ ().+/-]*){3,}[0-9]{4}\z"
_SSN = r"^[0-9]{3}[ -]?[0-9]{2}[ -]?[0-9]{4}\z"


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

    def express(self, column: StringColumn, type: str) -> StringValue:
        """Write the mask as an Ibis expression."""
        import ibis

        return ibis.cases((column.re_search(_PHONE), ibis.literal("****") + column.right(4)), else_="****")


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

    def express(self, column: StringColumn, type: str) -> StringValue:
        """Write the mask as an Ibis expression."""
        import ibis

        return ibis.cases((column.re_search(_SSN), ibis.literal("***-**-") + column.right(4)), else_="***-**-****")


def _matches(pattern: str, text: str) -> bool:
    # RE2 writes "the very end" \z, Python \Z; `$` would let a final newline pass.
    return re.search(pattern.replace(r"\z", r"\Z"), text) is not None
