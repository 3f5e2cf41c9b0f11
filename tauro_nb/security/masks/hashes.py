"""The hash without a key: anybody who can guess a value can check the guess."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tauro_nb.security.masks.base import Rank, TextMasker

if TYPE_CHECKING:
    from ibis.expr.types import StringColumn

    from tauro_nb.security.masks.base import Branches

__all__ = ["Sha256UnkeyedMasker", "WeakMask"]


class WeakMask(UserWarning):
    """A policy asks for a mask that hides less than it seems to."""


class Sha256UnkeyedMasker(TextMasker):
    """The SHA-256 of the text. It hides nothing that can be guessed: use `hmac`.

    Examples
    --------
    >>> Sha256UnkeyedMasker().mask("ana")[:16]
    '24d4b96f58da6d4a'
    """

    name = "sha256_unkeyed"
    rank = Rank.PARTIAL
    joinable = True
    warning = "has no key: names, numbers and addresses can be found by trying them; use `hmac`"

    def mask_text(self, text: str) -> str:
        """Hash one text."""
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def branches(self, column: StringColumn, type: str, dialect: str) -> Branches:
        """Write the mask as Ibis expressions."""
        return [], column.hexdigest("sha256")
