"""FROM: relations joined in every way, by one or two columns or by expressions of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.random import relations
from tests.random.model import JOINED_BY, Column, Select

if TYPE_CHECKING:
    from tests.random.generator import Generator

__all__ = ["Source", "condition", "means", "tables"]

_JOINS = (*("JOIN",) * 6, *("LEFT JOIN",) * 3, "RIGHT JOIN", "FULL JOIN")
_HALVES = ("SEMI JOIN", "ANTI JOIN")


@dataclass
class Source:
    """FROM and WHERE of a query."""

    text: str
    conditions: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.text + (f" WHERE {' AND '.join(map(_in_and, self.conditions))}" if self.conditions else "")


def _in_and(text: str) -> str:
    return f"({text})"


def means(column: Column) -> str:
    """What a column means: two that mean the same may be joined."""
    return JOINED_BY.get(column.name, "")


def tables(
    gen: Generator, depth: int, shared: Mapping[str, Select], *, inner: bool = False
) -> tuple[Source, list[Column]]:
    """Some relations, joined; `inner` asks for inner joins alone."""
    if inner and gen.chance(0.7):
        depth, shared = 0, {}
    text, scope = gen.relation(depth, shared)
    source = Source(text)
    for _ in range(gen.pick((1, 1, 2) if inner else (0, 0, 1, 1, 1, 2) if depth > 1 else (0, 0, 1))):
        scope = _joined(gen, source, scope, depth, shared, inner=inner)
    return source, scope


def _joined(
    gen: Generator, source: Source, scope: list[Column], depth: int, shared: Mapping[str, Select], *, inner: bool
) -> list[Column]:
    draw = gen.rng.random()
    if draw < 0.07:
        text, columns = relations.lateral(gen, scope)
        source.text += f"{gen.pick((', LATERAL', ' CROSS JOIN LATERAL'))} {text}"
        return scope + columns
    other, columns = gen.relation(depth - 1, shared)
    both = _named_alike(scope, columns)
    if draw < 0.17 and both:
        kind = "JOIN" if inner else gen.pick(_JOINS)
        style = f"{kind} {other} USING ({gen.pick(both)})"
        source.text += f" {'NATURAL ' + kind + ' ' + other if draw < 0.1 else style}"
        return scope + columns
    joined = condition(gen, scope, columns)
    if joined is None:
        return scope
    if inner and gen.chance(0.4):
        source.text += f" CROSS JOIN {other}"
        source.conditions.append(joined)
    elif not inner and draw > 0.93:
        source.text += f" {gen.pick(_HALVES)} {other} ON {joined}"
        return scope
    else:
        source.text += f" {'JOIN' if inner else gen.pick(_JOINS)} {other} ON {joined}"
    return scope + columns


def _named_alike(left: list[Column], right: list[Column]) -> list[str]:
    """Names that both sides have exactly once."""
    names = [column.sql.partition(".")[2] for column in left]
    return [name for name in (c.sql.partition(".")[2] for c in right) if names.count(name) == 1]


def condition(gen: Generator, left: list[Column], right: list[Column]) -> str | None:
    """Equality, on columns that mean the same where there are any; sometimes of two pairs, sometimes of expressions."""
    pairs = [(a, b) for a in left for b in right if a.kind == b.kind and a.kind != "boolean"]
    if not pairs:
        return None
    alike = [(a, b) for a, b in pairs if means(a) and means(a) == means(b)]
    a, b = gen.pick(alike or pairs)
    text = _equality(gen, a, b)
    draw = gen.rng.random()
    if draw < 0.15:
        c, d = gen.pick(pairs)
        text += f" AND {c.sql} {gen.pick(('=', '=', '<=', '<>'))} {d.sql}"
    elif draw < 0.3:
        text += f" AND {gen.predicate([*left, *right], 0)}"
    elif draw < 0.34:
        text = f"({text} OR {gen.predicate([*left, *right], 0)})"
    return text


_FALLBACK = {"integer": "-7", "string": "'?'", "decimal": "0.5", "date": "DATE '2023-02-03'", "double": "0.25"}


def _equality(gen: Generator, a: Column, b: Column) -> str:
    if gen.chance(0.8):
        return f"{a.sql} = {b.sql}" if gen.chance(0.6) else f"{b.sql} = {a.sql}"
    forms = [
        f"CASE WHEN {gen.simple_predicate([a], 0)} THEN {a.sql} END = {b.sql}",
        f"{a.sql} IS NOT DISTINCT FROM {b.sql}",
        f"CAST({a.sql} AS VARCHAR) = CAST({b.sql} AS VARCHAR)",
    ]
    if a.kind in _FALLBACK:
        forms += [f"coalesce({a.sql}, {_FALLBACK[a.kind]}) = coalesce({b.sql}, {_FALLBACK[a.kind]})"]
    forms += {"integer": [f"{a.sql} + 1 = {b.sql}"], "string": [f"lower({a.sql}) = lower({b.sql})"]}.get(a.kind, [])
    return gen.pick(forms)
