"""Masks that keep some characters at the ends: `first4`, `last4`, `partial`."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tauro_nb.errors import PolicyError
from tauro_nb.security.masks.base import TextMasker
from tauro_nb.security.masks.compiling import tail, unbroken
from tauro_nb.security.masks.options import Option, text, whole

if TYPE_CHECKING:
    from ibis.expr.types import StringColumn

    from tauro_nb.security.masks.base import Branches

__all__ = ["First4Masker", "Last4Masker", "PartialMasker"]


_SHORT_PAD: Final = 8
"""Bytes."""


class PartialMasker(TextMasker):
    """Keep the first `prefix` and the last `suffix` characters around a fixed `pad`.

    A text must have at least `hide` characters more than what is shown; a shorter one is hidden altogether,
    and so is one with a NUL, at which some databases end a text.

    Examples
    --------
    >>> card = PartialMasker(prefix=6, suffix=4)
    >>> card.mask("4111111111111111"), card.mask("4111111111"), card.mask(None)
    ('411111***1111', '***', None)
    """

    name = "partial"
    options = MappingProxyType({
        "prefix": Option(whole(0, 1000), 0),
        "pad": Option(text, "***"),
        "suffix": Option(whole(0, 1000), 0),
        "hide": Option(whole(1, 1000), 1),
    })  # fmt: skip

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._prefix: int = self.parameters["prefix"]
        self._suffix: int = self.parameters["suffix"]
        self._pad: str = self.parameters["pad"]
        self._hide: int = self.parameters["hide"]
        if type(self) is PartialMasker and not self._prefix + self._suffix:
            raise PolicyError("the mask `partial` needs `prefix` or `suffix`; `constant` shows neither")

    @property
    def form(self) -> str:
        """Some sources sort and group texts by their first bytes, beyond which a long pad leads."""
        return self.name if len(self._pad.encode()) <= _SHORT_PAD else f"{self.name} long"

    def mask_text(self, text: str) -> str:
        """Hide the middle of one text."""
        if len(text) < self._prefix + self._suffix + self._hide or "\0" in text:
            return self._pad
        return text[: self._prefix] + self._pad + (text[-self._suffix :] if self._suffix else "")

    def branches(self, column: StringColumn, type: str, dialect: str) -> Branches:
        """Write the mask as Ibis expressions."""
        import ibis

        shown: Any = ibis.literal(self._pad)
        if self._prefix:
            shown = column.substr(0, self._prefix) + shown
        if self._suffix:
            shown += tail(column, self._suffix, dialect)
        enough = column.length() >= self._prefix + self._suffix + self._hide
        return [(enough & unbroken(column, dialect), shown)], self._pad


class _FourMasker(PartialMasker):
    """Four characters of one end, four stars for the rest."""

    options = MappingProxyType({"hide": Option(whole(1, 1000), 1)})
    _shown: MappingProxyType[str, Any]

    def __init__(self, **options: Any) -> None:
        TextMasker.__init__(self, **options)
        self._prefix, self._suffix = self._shown["prefix"], self._shown["suffix"]
        self._pad, self._hide = "****", self.parameters["hide"]


class First4Masker(_FourMasker):
    """Keep the first four characters; a text of four or fewer is hidden altogether.

    Examples
    --------
    >>> First4Masker().mask("DE89370400440532013000"), First4Masker().mask("DE89")
    ('DE89****', '****')
    """

    name = "first4"
    _shown = MappingProxyType({"prefix": 4, "suffix": 0})


class Last4Masker(_FourMasker):
    """Keep the last four characters; a text of four or fewer is hidden altogether.

    Examples
    --------
    >>> Last4Masker().mask("4111111111111111"), Last4Masker().mask("1111")
    ('****1111', '****')
    """

    name = "last4"
    _shown = MappingProxyType({"prefix": 0, "suffix": 4})
