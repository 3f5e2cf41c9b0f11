"""Output columns of a fragment: read off its tree where that says enough, asked of DuckDB's binder elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlglot import exp

from tauro_nb.query.literals import used_params
from tauro_nb.query.names import RAW, leaf_kind
from tauro_nb.query.placement.reach import relations
from tauro_nb.query.placement.tabular import is_tabular
from tauro_nb.query.trees import copied, every, quoted_column, written
from tauro_nb.security.types import is_text
from tauro_nb.sources.capability import mask_of

if TYPE_CHECKING:
    from tauro_nb.query.binder import Binder
    from tauro_nb.query.planner import Planner
    from tauro_nb.sources.base import Source

__all__ = ["raw_columns", "untyped_columns"]

_OF_NULL: Final = "INTEGER"


def raw_columns(tree: exp.Query, source: Source, planner: Planner) -> dict[str, str]:
    """Output columns of a query over raw tables of one source, with the types that DuckDB gives them."""
    binder = planner.binder
    for table in every(tree, exp.Table):
        if leaf_kind(table) == RAW:
            entry = planner.raw(table.name)
            binder.ensure(entry.table.name, RAW, entry.held)
    masks: frozenset[str] = frozenset() if source.capability is None else source.capability.masks
    return _Reader(binder, masks).columns(tree) or binder.describe(written(tree), used_params(tree, planner.params))


def untyped_columns(tree: exp.Query, schema: Mapping[str, str], planner: Planner) -> frozenset[str]:
    """Output columns that are NULL alone. DuckDB says INTEGER of them, and takes them for whatever fits beside them.

    Parameters
    ----------
    schema
        What `raw_columns` gave for the same tree.
    """
    asked = [name for name, kind in schema.items() if kind == _OF_NULL]
    if not asked or is_tabular(tree, planner.params):
        return frozenset()
    # Beside a number this text is one, beside a NULL it stays a text.
    beside = [
        exp.alias_(exp.func("COALESCE", quoted_column(name), exp.Literal.string("")), name, quoted=True)
        for name in asked
    ]
    probe = exp.Select(expressions=beside).from_(copied(tree).subquery("answer", copy=False), copy=False)
    found = planner.binder.describe(written(probe), used_params(tree, planner.params))
    return frozenset(name for name, kind in found.items() if kind != _OF_NULL)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads types off a tree: `masks` are those that a source answers itself, each of a text, which stays one."""

    binder: Binder
    masks: frozenset[str]

    def columns(self, tree: exp.Expr) -> dict[str, str]:
        """Output columns of a query that hands out columns of raw tables, or their masks; empty for any other."""
        if not isinstance(tree, exp.Select) or tree.args.get("from_") is None or tree.args.get("with_"):
            return {}
        held = {alias: self._held_by(relation) for alias, relation in relations(tree).items()}
        if len(held) <= len(tree.args.get("joins") or []) or tree.args.get("laterals"):
            return {}
        only = next(iter(held)) if len(held) == 1 else ""
        selects = tree.selects
        columns = {select.alias_or_name: self._kind(select.unalias(), held, only) for select in selects}
        return columns if all(columns.values()) and len(columns) == len(selects) else {}

    def _kind(self, value: exp.Expr, held: Mapping[str, Mapping[str, str]], only: str) -> str:
        if isinstance(value, exp.Column):
            return held.get(value.table.lower() or only, {}).get(value.name.lower(), "")
        mark = mask_of(value)
        return "VARCHAR" if mark is not None and mark.name in self.masks and is_text(mark.type) else ""

    def _held_by(self, relation: exp.Expr) -> Mapping[str, str]:
        """Types of a relation's columns, by lower-case name; empty if it is neither a raw table nor a plain query."""
        if relation.alias_column_names:
            return {}
        if leaf_kind(relation) == RAW:
            return self.binder.columns(relation.name, RAW)
        if isinstance(relation, exp.Subquery) and not relation.args.get("pivots"):
            return {name.lower(): kind for name, kind in self.columns(relation.this).items()}
        return {}
