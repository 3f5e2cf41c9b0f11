"""`{{ name }}` in the SQL of a catalog's tables: always a whole value, never a name or a piece of SQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tauro_nb.errors import ConfigError, UnboundParameter, nearest

if TYPE_CHECKING:
    from tauro_nb.catalog.table import VirtualTable

__all__ = ["mark_templates", "missing_value", "template_names"]

_TEMPLATE: Final = re.compile(r"\{\{\s*(?P<name>[A-Za-z_]\w*)\s*\}\}")
# Texts, quoted names and comments are matched first: what looks like a template inside them is not one.
_PIECE: Final = re.compile(
    r"""'(?P<text>(?:''|[^'])*)'|(?P<quoted>"(?:""|[^"])*")|--[^\n]*|/\*.*?\*/|\{\{\s*(?P<name>[A-Za-z_]\w*)\s*\}\}""",
    re.DOTALL,
)


def mark_templates(table: VirtualTable, write: Callable[[str], str]) -> str:
    """The query of a table with `write(name)` in the place of each template; quotes around one belong to it.

    Raises
    ------
    ConfigError
        A template is a part of a text or of a name.

    Examples
    --------
    >>> from tauro_nb.catalog.table import VirtualTable
    >>> table = VirtualTable("t", query="SELECT '{{ a }}', {{b}}, '-- it''s' -- {{ c }}")
    >>> mark_templates(table, lambda name: f"${name}")
    "SELECT $a, $b, '-- it''s' -- {{ c }}"
    """

    def piece(match: re.Match[str]) -> str:
        if match["name"]:
            return write(match["name"])
        inside = match["text"] if match["text"] is not None else match["quoted"] or ""
        found = _TEMPLATE.search(inside)
        if found is None:
            return match[0]
        if match["text"] is not None and found[0] == inside.strip():
            return write(found["name"])
        raise ConfigError(
            [f"query: `{found[0]}` is a part of a text or name; it stands for a whole value (use `||`)"],
            origin=f"table `{table.name}`",
        )

    return _PIECE.sub(piece, table.query or "")


def template_names(table: VirtualTable) -> frozenset[str]:
    """Names of all templates of a table's query."""
    if "{{" not in (table.query or ""):
        return frozenset()
    names: set[str] = set()

    def note(name: str) -> str:
        names.add(name)
        return ""

    mark_templates(table, note)
    return frozenset(names)


def missing_value(table: VirtualTable, name: str, values: Mapping[str, Any]) -> UnboundParameter:
    """The error for a template without a value."""
    return UnboundParameter(
        f"table `{table.name}` needs a value for `{name}`.{nearest(name, values)}",
        hint=f"Give it with params={{'{name}': ...}} or the table's `parameters:`.",
        table=table.name,
    )
