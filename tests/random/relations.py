"""What can stand in FROM: tables in any spelling, subqueries, CTEs, VALUES, LATERAL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tests.random import joins, statements
from tests.random.model import KINDS, Column, Select, aliased
from tests.random.tables import kind_of

if TYPE_CHECKING:
    from tests.random.generator import Generator

__all__ = ["lateral", "relation"]


def relation(gen: Generator, depth: int, shared: Mapping[str, Select]) -> tuple[str, list[Column]]:
    """Something to read from, under an alias."""
    draw = gen.rng.random()
    if shared and draw < 0.4:
        name = gen.pick(sorted(shared))
        alias = gen.alias()
        return f"{name} {alias}", shared[name].columns(alias)
    if depth > 1 and draw < 0.6:
        return _subquery(gen, depth, shared)
    return _values(gen) if draw > 0.985 else _table(gen)


def _subquery(gen: Generator, depth: int, shared: Mapping[str, Select]) -> tuple[str, list[Column]]:
    alias = gen.alias()
    with gen.names_again():
        inner = gen.select(depth - 1) if gen.chance(0.8) else statements.body(gen, depth - 1, shared)
    text = inner.sql
    if gen.chance(0.2):
        order = statements.ordering(gen, len(inner.kinds))
        text = f"SELECT * FROM ({text}) q{order} LIMIT {gen.pick((1, 5, 30))}{gen.pick(('', ' OFFSET 3'))}"
    return f"({text}) {alias}", inner.columns(alias)


def _values(gen: Generator) -> tuple[str, list[Column]]:
    alias = gen.alias()
    kinds = [gen.pick(KINDS) for _ in range(gen.pick((1, 2, 2)))]
    # The first row says of what type the columns are.
    rows = [[gen.literal(kind) if not row or gen.chance(0.8) else "NULL" for kind in kinds] for row in range(3)]
    listed = ", ".join(f"({', '.join(row)})" for row in rows)
    columns = Select("", tuple(kinds)).columns(alias)
    return f"(VALUES {listed}) {alias}({', '.join(f'c{number}' for number in range(len(kinds)))})", columns


def _table(gen: Generator) -> tuple[str, list[Column]]:
    name = gen.pick(sorted(gen.tables))
    alias = gen.alias()
    columns = [
        Column(f"{alias}.{_spelled(gen, column)}", kind_of(kind), column) for column, kind in gen.tables[name].items()
    ]
    return f"{_spelled(gen, name)}{gen.pick((' ', ' ', ' AS '))}{alias}", columns


def _spelled(gen: Generator, name: str) -> str:
    """A name as somebody may write it: none has a case."""
    if not name.replace("_", "").isalnum() or name == "select":
        # DuckDB knows the case of ASCII letters alone.
        return f'"{name.upper()}"' if name.isascii() and gen.chance(0.2) else f'"{name}"'
    draw = gen.rng.random()
    forms = {0: f'"{name}"', 1: name.upper(), 2: name.title(), 3: f'"{name.upper()}"'}
    return forms[int(draw * 40)] if draw < 0.1 else name


def lateral(gen: Generator, scope: Sequence[Column]) -> tuple[str, list[Column]]:
    """A query that reads what stands before it."""
    alias = gen.alias()
    source, columns = joins.tables(gen, 0, {})
    source.conditions.append(joins.condition(gen, list(scope), columns) or "true")
    kinds = gen.drawn_kinds(columns)[:2]
    items = [gen.column(kind, columns) for kind in kinds]
    if gen.chance(0.5):
        items = [f"{gen.pick(('min', 'max'))}({item})" for item in items]
    return f"(SELECT {aliased(items)} FROM {source}) {alias}", Select("", tuple(kinds)).columns(alias)
