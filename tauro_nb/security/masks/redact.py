"""The mask that shows at most what kinds of characters a text is made of."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from tauro_nb.security.masks.base import HIDDEN, TextMasker
from tauro_nb.security.masks.options import Option, flag

if TYPE_CHECKING:
    from ibis.expr.types import StringColumn

    from tauro_nb.security.masks.base import Branches

__all__ = ["RedactMasker"]

# In this order: what an earlier one writes, a later one leaves alone. Letters of other scripts and what cannot be
# printed are as telling as a letter, so they look like one.
_CLASSES = (("[A-Z]", "X"), ("[0-9]", "0"), ("[a-z]|[^ -~]", "x"))


class RedactMasker(TextMasker):
    """Three stars, whatever the length; with `shape`, every letter becomes `x` or `X` and every digit `0`.

    `shape` keeps spaces and punctuation, so the length of a text and of its words shows.

    Examples
    --------
    >>> RedactMasker().mask("Flat 4b"), RedactMasker(shape=True).mask("Flat 4b"), RedactMasker().mask(None)
    ('***', 'Xxxx 0x', None)
    """

    name = "redact"
    options = MappingProxyType({"shape": Option(flag, False)})

    @property
    def form(self) -> str:
        """The shape is written with regular expressions."""
        return "redact shape" if self.parameters["shape"] else "redact"

    def mask_text(self, text: str) -> str:
        """Hide one text."""
        if not self.parameters["shape"]:
            return HIDDEN
        for pattern, letter in _CLASSES:
            text = re.sub(pattern, letter, text)
        return text

    def branches(self, column: StringColumn, type: str, dialect: str) -> Branches:
        """Write the mask as Ibis expressions."""
        if not self.parameters["shape"]:
            return [], HIDDEN
        shown = column
        for pattern, letter in _CLASSES:
            shown = shown.re_replace(pattern, letter)
        return [], shown
