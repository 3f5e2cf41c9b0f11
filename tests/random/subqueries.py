"""Queries inside conditions and values: EXISTS, IN, ANY, ALL and scalar ones, correlated or not, also two deep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tests.random import joins
from tests.random.model import RANGE, Column

if TYPE_CHECKING:
    from tests.random.generator import Generator

__all__ = ["predicate", "semi", "value"]


def predicate(gen: Generator, scope: Sequence[Column], depth: int) -> str:
    """A condition that looks through other tables."""
    return gen.pick(_PREDICATES)(gen, scope, depth)


def semi(gen: Generator, scope: Sequence[Column]) -> str:
    """EXISTS or IN over one table, by an equality of columns that mean the same."""
    subject = _subject(gen, scope)
    name, columns = gen.relation(0, {})
    alike = [
        column for column in columns if column.kind == subject.kind and joins.means(column) == joins.means(subject)
    ]
    if not alike:
        return gen.simple_predicate(scope, 0)
    own = gen.pick(alike).sql
    where = f" WHERE {gen.simple_predicate(columns, 0)}" if gen.chance(0.5) else ""
    if gen.chance(0.5):
        return f"{subject.sql} {gen.pick(('', '', 'NOT '))}IN (SELECT {own} FROM {name}{where})"
    also = f" AND {where[7:]}" if where else ""
    return f"{gen.pick(('', '', 'NOT '))}EXISTS (SELECT 1 FROM {name} WHERE {own} = {subject.sql}{also})"


def _member(gen: Generator, scope: Sequence[Column], depth: int) -> str:
    subject = _subject(gen, scope)
    with gen.names_again():
        inner = gen.select(depth - 1, kinds=[subject.kind])
    return f"{subject.sql} {gen.pick(('', 'NOT '))}IN ({inner.sql})"


def _plain_member(gen: Generator, scope: Sequence[Column], depth: int) -> str:
    """IN a column, maybe of rows that have to do with the one outside."""
    subject = _subject(gen, scope)
    source, columns = joins.tables(gen, 0, {})
    fitting = [c.sql for c in columns if c.kind == subject.kind and joins.means(c) == joins.means(subject)]
    fitting = fitting or [column.sql for column in columns if column.kind == subject.kind]
    if not fitting:
        return _exists(gen, scope, depth)
    if gen.chance(0.3):
        source.conditions.append(joins.condition(gen, list(scope), columns) or "true")
    if gen.chance(0.5):
        source.conditions.append(_inner(gen, scope, columns, depth - 1))
    return f"{subject.sql} {gen.pick(('', '', 'NOT '))}IN (SELECT {gen.pick(fitting)} FROM {source})"


def _exists(gen: Generator, scope: Sequence[Column], depth: int) -> str:
    source, columns = joins.tables(gen, 0, {})
    source.conditions.append(joins.condition(gen, list(scope), columns) or gen.simple_predicate(columns, 0))
    if gen.chance(0.5):
        source.conditions.append(_inner(gen, scope, columns, depth - 1))
    return f"{gen.pick(('', '', 'NOT '))}EXISTS (SELECT {gen.pick(('1', columns[0].sql))} FROM {source})"


def _compared(gen: Generator, scope: Sequence[Column], depth: int) -> str:
    subject = _subject(gen, scope)
    return f"{subject.sql} {gen.pick(('=', *RANGE))} {value(gen, subject.kind, scope, depth)}"


def _quantified(gen: Generator, scope: Sequence[Column], depth: int) -> str:
    subject = _subject(gen, scope)
    source, columns = joins.tables(gen, 0, {})
    fitting = [column.sql for column in columns if column.kind == subject.kind]
    if not fitting:
        return _exists(gen, scope, depth)
    if gen.chance(0.6):
        source.conditions.append(gen.simple_predicate(columns, 0))
    comparison = f"{gen.pick(('=', *RANGE))} {gen.pick(('ANY', 'ALL'))}"
    return f"{subject.sql} {comparison} (SELECT {gen.pick(fitting)} FROM {source})"


_PREDICATES: tuple[Callable[[Generator, Sequence[Column], int], str], ...] = (
    _member, *(_plain_member,) * 3, *(_exists,) * 4, _compared, _compared, _quantified,
)  # fmt: skip


def _subject(gen: Generator, scope: Sequence[Column]) -> Column:
    meant = [column for column in scope if joins.means(column)]
    return gen.pick(meant if meant and gen.chance(0.7) else list(scope))


def _inner(gen: Generator, outer: Sequence[Column], columns: Sequence[Column], depth: int) -> str:
    """One more condition of a query inside, maybe with a query that speaks of this one, of the one around, or both."""
    if depth > 0 and gen.chance(0.6):
        return predicate(gen, [*columns, *outer] if gen.chance(0.4) else columns, depth)
    return gen.simple_predicate([*columns, *outer] if gen.chance(0.15) else columns, 0)


def value(gen: Generator, kind: str, scope: Sequence[Column], depth: int) -> str:
    """A scalar query: an aggregate, so that it has one row."""
    source, columns = joins.tables(gen, 0, {})
    joined = joins.condition(gen, list(scope), columns)
    if joined and gen.chance(0.75):
        source.conditions.append(joined)
    if gen.chance(0.3):
        source.conditions.append(_inner(gen, scope, columns, depth - 1))
    forms = [f"{name}({gen.column(kind, columns)})" for name in ("min", "max")]
    if kind == "integer":
        forms += ["count(*)", f"count({gen.pick(columns).sql})"]
    if kind in {"decimal", "double"}:
        forms += [f"sum({gen.column(kind, columns)})"]
    return f"(SELECT {gen.pick(forms)} FROM {source})"
