"""Shapes of a SELECT: plain, grouped in several ways, with windows, one row of each of something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tests.random.model import AGGREGATED, COMPARE, Column, Select, aliased

if TYPE_CHECKING:
    from tests.random.generator import Generator

__all__ = ["draw", "one_sided"]

Kinds = tuple[str, ...]
Shape = Callable[["Generator", str, list[Column], Kinds, int], Select]


def draw(gen: Generator) -> Shape:
    """One of the shapes."""
    return gen.pick(_SHAPES)


def plain(gen: Generator, rest: str, scope: list[Column], kinds: Kinds, depth: int) -> Select:
    """Values of each row."""
    distinct = "DISTINCT " if gen.chance(0.2) else ""
    items = [gen.scalar(kind, scope, depth) for kind in kinds]
    names = {column.sql: column.name for column in scope}
    return Select(f"SELECT {distinct}{aliased(items)} FROM {rest}", kinds, tuple(names.get(item, "") for item in items))


def grouped(gen: Generator, rest: str, scope: list[Column], kinds: Kinds, _depth: int) -> Select:
    """Aggregates by some of the columns; without any, maybe only if HAVING lets them."""
    # A key without a column would be a constant, and GROUP BY 3 means the third column.
    possible = [place for place, kind in enumerate(kinds) if any(column.kind == kind for column in scope)]
    keys = gen.rng.sample(possible, k=gen.rng.randint(0, len(possible)))
    items = [
        _key(gen, kind, scope) if place in keys else aggregate(gen, kind, scope) for place, kind in enumerate(kinds)
    ]
    grouping = _grouping(gen, [items[place] for place in keys])
    having = ""
    if gen.chance(0.25):
        having = f" HAVING {aggregate(gen, 'integer', scope)} {gen.pick(COMPARE)} {gen.literal('integer')}"
    # All columns are keys: neither an aggregate nor GROUP BY makes it one row.
    having = having if grouping or len(keys) < len(kinds) else ""
    return Select(f"SELECT {aliased(items)} FROM {rest}{grouping}{having}", kinds)


def one_sided(gen: Generator, rest: str, scope: list[Column], kinds: Kinds, _depth: int) -> Select:
    """Sums and counts of one relation by columns of whichever: what may be aggregated before it is joined."""
    aliases = sorted({column.relation for column in scope})
    side = gen.pick(aliases)
    inside, outside = [c for c in scope if c.relation == side], [c for c in scope if c.relation != side]
    places = range(len(kinds))
    by = {place: _keys_of(kinds[place], outside) or _keys_of(kinds[place], inside) for place in places}
    keyed = [place for place in places if by[place] and gen.chance(0.5)]
    items = [gen.pick(by[place]) if place in keyed else _decomposable(gen, kinds[place], inside) for place in places]
    grouping = f" GROUP BY {', '.join(dict.fromkeys(items[place] for place in keyed))}" if keyed else ""
    having = f" HAVING count(*) > {gen.rng.randint(0, 3)}" if grouping and gen.chance(0.2) else ""
    return Select(f"SELECT {aliased(items)} FROM {rest}{grouping}{having}", kinds)


def _keys_of(kind: str, scope: Sequence[Column]) -> list[str]:
    return [column.sql for column in scope if column.kind == kind]


def _decomposable(gen: Generator, kind: str, inside: Sequence[Column]) -> str:
    columns = [column.sql for column in inside if column.kind == kind]
    if kind == "integer":
        counted = gen.pick(list(inside)).sql
        chosen = gen.pick(("count(*)", f"count({counted})", *(f"CAST(sum({column}) AS BIGINT)" for column in columns)))
    elif not columns:
        return gen.pick(("min", "max")) + f"({gen.literal(kind)})"
    elif kind in AGGREGATED:
        chosen = f"{gen.pick(('sum', 'min', 'max'))}({gen.pick(columns)})"
    else:
        chosen = f"{gen.pick(('min', 'max'))}({gen.pick(columns)})"
    if gen.chance(0.15) and not chosen.startswith("CAST"):
        chosen += f" FILTER (WHERE {gen.simple_predicate(inside, 0)})"
    return chosen


def windowed(gen: Generator, rest: str, scope: list[Column], kinds: Kinds, depth: int) -> Select:
    """One column is a window function's; maybe QUALIFY chooses by it."""
    place = gen.rng.randrange(len(kinds))
    items = [
        _window(gen, kind, scope) if number == place else gen.scalar(kind, scope, depth)
        for number, kind in enumerate(kinds)
    ]
    qualify = ""
    if gen.chance(0.25):
        qualify = f" QUALIFY c{place} {gen.pick(COMPARE)} {gen.literal(kinds[place])}"
    return Select(f"SELECT {aliased(items)} FROM {rest}{qualify}", kinds)


def first_of_each(gen: Generator, rest: str, scope: list[Column], kinds: Kinds, depth: int) -> Select:
    """One row of each value of something: the whole row orders them, so that it is always the same one."""
    items = aliased([gen.scalar(kind, scope, depth) for kind in kinds])
    keys = [column.sql for column in gen.rng.sample(scope, k=min(len(scope), gen.pick((1, 1, 2))))]
    whole = ", ".join(f"{c.sql}{gen.pick(('', ' DESC', ' NULLS FIRST'))}" for c in scope)
    listed = ", ".join(keys)
    if gen.chance(0.5):
        # A query of its own: what orders here orders no set operation around.
        body = f"SELECT DISTINCT ON ({listed}) {items} FROM {rest} ORDER BY {listed}, {whole}"
        return Select(f"SELECT * FROM ({body}) d", kinds)
    number = f"row_number() OVER (PARTITION BY {listed} ORDER BY {whole})"
    return Select(f"SELECT {items} FROM {rest} QUALIFY {number} <= {gen.pick((1, 1, 2))}", kinds)


_SHAPES: tuple[Shape, ...] = (
    *(plain,) * 5, *(grouped,) * 3, *(one_sided,) * 4, *(windowed,) * 2, first_of_each,
)  # fmt: skip


# ---- keys, aggregates and windows ------------------------------------------------------------------------------------

_KEY_FORMS: dict[str, tuple[str, ...]] = {
    "integer": ("({} % 5)", "coalesce({}, -1)"),
    "string": ("upper({})", "coalesce({}, '?')"),
    "date": ("CAST(date_trunc('month', {}) AS DATE)",),
    "timestamp": ("date_trunc('day', {})",),
    "decimal": ("round({}, 0)",),
}


def _key(gen: Generator, kind: str, scope: Sequence[Column]) -> str:
    column = gen.pick([column.sql for column in scope if column.kind == kind])
    return gen.pick(("{}", "{}", *_KEY_FORMS.get(kind, ()))).format(column)


def _grouping(gen: Generator, keys: list[str]) -> str:
    if not keys:
        return ""
    listed = ", ".join(keys)
    some = ", ".join(f"({', '.join(gen.rng.sample(keys, k=gen.rng.randint(0, len(keys))))})" for _ in range(2))
    styles = ("{}", "{}", "{}", "{}", "ROLLUP ({})", "CUBE ({})", f"GROUPING SETS (({{}}), {some})")
    return " GROUP BY " + gen.pick(styles).format(listed)


def aggregate(gen: Generator, kind: str, scope: Sequence[Column]) -> str:
    """An aggregate of a kind."""
    argument = gen.scalar(kind, scope, 1)
    forms = [f"min({argument})", f"max({argument})"]
    if kind == "integer":
        counted = gen.pick(list(scope)).sql
        forms += ["count(*)", f"count({counted})", f"count(DISTINCT {counted})"]
        forms += [f"CAST(sum({argument}) AS BIGINT)", f"CAST(sum(DISTINCT {argument}) AS BIGINT)"]
    if kind in {"decimal", "double"}:
        forms += [f"sum({gen.column(kind, scope)})"] * 2
    if kind == "double":
        forms += [f"avg({gen.column(gen.pick(AGGREGATED), scope)})"] * 2
    if kind == "boolean":
        forms += [f"bool_and({argument})", f"bool_or({argument})"]
    if kind == "string":
        forms += [f"string_agg({argument}, ',' ORDER BY {argument})"]
    chosen = gen.pick(forms)
    if gen.chance(0.15) and not chosen.startswith("CAST"):
        chosen += f" FILTER (WHERE {gen.predicate(scope, 0)})"
    return chosen


_FRAMES = (
    "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
    "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
    "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
    "ROWS UNBOUNDED PRECEDING",
    "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    "GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
    "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING",
)


def _window(gen: Generator, kind: str, scope: list[Column]) -> str:
    whole = ", ".join(f"{column.sql}{gen.pick(('', '', ' DESC', ' NULLS FIRST'))}" for column in scope)
    partition = f"PARTITION BY {gen.pick(scope).sql} " if gen.chance(0.7) else ""
    argument = gen.column(kind, scope)
    key = gen.pick(scope).sql
    frame = gen.pick(_FRAMES)
    ranked = [f"{name}() OVER ({partition}ORDER BY {key})" for name in ("rank", "dense_rank")]
    ranked += [f"row_number() OVER ({partition}ORDER BY {whole})", f"ntile(3) OVER ({partition}ORDER BY {whole})"]
    ranked += [f"count({gen.pick(scope).sql}) OVER ({partition}ORDER BY {whole} {frame})"]
    ordered = [f"{name}({argument}) OVER ({partition}ORDER BY {whole})" for name in ("lag", "lead", "first_value")]
    ordered += [
        f"{name}({argument}) OVER ({partition}ORDER BY {whole} {frame})" for name in ("min", "max", "last_value")
    ]
    ordered += [f"lag({argument}, 2, {gen.literal(kind)}) OVER ({partition}ORDER BY {whole})"]
    summed = [f"sum({argument}) OVER ({partition}ORDER BY {key})", f"sum({argument}) OVER ({partition})"]
    summed += [f"sum({argument}) OVER ({partition}ORDER BY {whole} {frame})"]
    choices = {"integer": ranked + ordered, "decimal": ordered + summed, "double": ordered + summed}
    return gen.pick(choices.get(kind, ordered))
