"""The mask that replaces what a regular expression finds."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tauro_nb.errors import PolicyError
from tauro_nb.security.masks.base import HIDDEN, TextMasker
from tauro_nb.security.masks.options import Option, text

if TYPE_CHECKING:
    from ibis.expr.types import StringColumn

    from tauro_nb.security.masks.base import Branches

__all__ = ["RegexMasker"]

_LONGEST = 1000
_GROUP = re.compile(r"\\(?:([0-9])|\\|(.))", re.DOTALL)


class RegexMasker(TextMasker):
    r"""Replace every match of `pattern` (RE2) by `replacement`, in which `\1` is the first group.

    A text in which the pattern finds nothing is hidden altogether, for it does not have the form the mask is made for.

    Examples
    --------
    >>> RegexMasker(pattern="[0-9]", replacement="#").mask("flat 42"), RegexMasker(pattern="[0-9]").mask("flat")
    ('flat ##', '***')
    """

    name = "regex"
    options = MappingProxyType({"pattern": Option(text), "replacement": Option(text, HIDDEN)})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pattern, self._replacement = self.parameters["pattern"], self.parameters["replacement"]
        if not self._pattern or len(self._pattern) > _LONGEST:
            raise PolicyError(f"the mask `regex`: `pattern` must have 1 to {_LONGEST} characters")
        self._check()

    def _check(self) -> None:
        """Let the engine's own library read the pattern, so that it cannot fail on the first row.

        Raises
        ------
        PolicyError
            It is no regular expression of RE2, it finds the empty text, or the replacement names a group it lacks.
        """
        import duckdb

        try:
            (empty,) = _ask("SELECT regexp_matches('', $p)", p=self._pattern)
        except duckdb.Error:
            raise PolicyError("the mask `regex`: `pattern` is not a regular expression of RE2") from None
        if empty:
            raise PolicyError("the mask `regex`: `pattern` must not find the empty text")
        for found in _GROUP.finditer(self._replacement):
            if found[2] or (found[1] and not _has_group(self._pattern, int(found[1]))):
                raise PolicyError("the mask `regex`: `replacement` names a group that `pattern` does not have")
        if len(re.sub(r"\\\\|\\[0-9]", "", self._replacement).split("\\")) > 1:
            raise PolicyError("the mask `regex`: `replacement` ends in a backslash")

    def mask_text(self, text: str) -> str:
        """Hide one text, with the engine's own regular expressions: Python's differ in what they find."""
        (shown,) = _ask(
            "SELECT CASE WHEN regexp_matches($t, $p) THEN regexp_replace($t, $p, $r, 'g') ELSE '***' END",
            t=text, p=self._pattern, r=self._replacement,
        )  # fmt: skip
        return str(shown)

    def branches(self, column: StringColumn, type: str, dialect: str) -> Branches:
        """Write the mask as Ibis expressions."""
        found = column.re_search(self._pattern)
        return [(found, column.re_replace(self._pattern, self._replacement))], HIDDEN


def _has_group(pattern: str, group: int) -> bool:
    """Whether a pattern has as many groups; the engine says so of names for them."""
    import duckdb

    names = ", ".join(f"'g{number}'" for number in range(group))
    try:
        _ask(f"SELECT regexp_extract('', $p, [{names}])" if group else "SELECT $p", p=pattern)
    except duckdb.Error:
        return False
    return True


def _ask(sql: str, **values: Any) -> tuple[Any, ...]:
    import duckdb

    with duckdb.connect(":memory:") as connection:
        found = connection.execute(sql, values).fetchone()
    assert found is not None
    return found
