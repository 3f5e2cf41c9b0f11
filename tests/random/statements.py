"""Whole statements: WITH, also used twice and recursive, set operations, ORDER BY and LIMIT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.random.model import Select

if TYPE_CHECKING:
    from tests.random.generator import Generator

__all__ = ["body", "ordering", "statement"]

_OPERATIONS = ("UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL", "INTERSECT ALL")
_DIRECTIONS = ("", " DESC", " NULLS FIRST", " DESC NULLS LAST", " DESC NULLS FIRST")


def statement(gen: Generator) -> str:
    """A whole statement: maybe a WITH, maybe a set operation, maybe ORDER BY and LIMIT."""
    if gen.chance(0.04):
        return _everything(gen)
    shared: dict[str, Select] = {}
    for number in range(gen.pick((0, 0, 0, 1, 1, 2))):
        with gen.names_again():
            shared[f"w{number}"] = _recursive(gen, f"w{number}") if gen.chance(0.15) else gen.select(2, dict(shared))
    whole = body(gen, 2, shared)
    recursive = "RECURSIVE " * any(f" {name} r" in cte.sql for name, cte in shared.items())
    listed = ", ".join(f"{name}{_hint(gen, cte, recursive)} ({cte.sql})" for name, cte in shared.items())
    prefix = f"WITH {recursive}{listed} " if listed else ""
    return prefix + whole.sql + _ordered(gen, len(whole.kinds))


def _hint(gen: Generator, cte: Select, recursive: str) -> str:
    names = f"({', '.join(f'c{number}' for number in range(len(cte.kinds)))}) " if recursive else ""
    return f"{names} AS{gen.pick(('', '', '', ' MATERIALIZED', ' NOT MATERIALIZED')) * (not recursive)}"


def _everything(gen: Generator) -> str:
    """All columns of a join, of which some have one name."""
    left, right = gen.relation(0, {}), gen.relation(0, {})
    pairs = [f"{a.sql} = {b.sql}" for a in left[1] for b in right[1] if a.kind == b.kind and a.kind != "boolean"]
    alias = left[1][0].relation
    items = gen.pick(
        ("*", f"{alias}.*, {right[1][0].sql}", f"{alias}.*, {alias}.*", f"{left[1][0].sql}, {right[1][0].sql}")
    )
    where = f" WHERE {gen.predicate([*left[1], *right[1]], 1)}" if gen.chance(0.5) else ""
    joined = f"{left[0]} {gen.pick(('', 'LEFT ', 'FULL '))}JOIN {right[0]} ON {gen.pick(pairs or ['true'])}"
    return f"SELECT {items} FROM {joined}{where}"


def _recursive(gen: Generator, name: str) -> Select:
    """Who is linked with whom, over a few steps."""
    start = f"l.person_id {gen.pick(('<', '>', '='))} {gen.literal('integer')}"
    union = gen.pick(("UNION", "UNION", "UNION ALL"))
    steps = gen.rng.randint(1, 3)
    other = gen.pick(("", " JOIN people p ON p.id = l.other_id", " LEFT JOIN visits v ON v.person_id = l.other_id"))
    first = f"SELECT DISTINCT l.person_id, 0 FROM links l WHERE {start}"
    more = f"SELECT l.other_id, r.c1 + 1 FROM {name} r JOIN links l ON l.person_id = r.c0{other} WHERE r.c1 < {steps}"
    return Select(f"{first} {union} {more}", ("integer", "integer"), ("person_id", ""))


def body(gen: Generator, depth: int, shared: Mapping[str, Select]) -> Select:
    """A SELECT, or two of the same shape under a set operation."""
    first = gen.select(depth, shared)
    if not gen.chance(0.17):
        return first
    second = gen.select(depth - 1, shared, kinds=first.kinds)
    if gen.chance(0.2):
        names = [f"c{number}" for number in range(len(first.kinds))]
        gen.rng.shuffle(names)
        operation = gen.pick(("UNION BY NAME", "UNION ALL BY NAME"))
        renamed = f"SELECT {', '.join(names)} FROM ({second.sql}) s"
        return Select(f"SELECT * FROM (({first.sql}) {operation} ({renamed})) u", first.kinds)
    return Select(f"SELECT * FROM ({first.sql} {gen.pick(_OPERATIONS)} {second.sql}) u", first.kinds)


def ordering(gen: Generator, width: int) -> str:
    """ORDER BY all columns of a query."""
    keys = list(range(1, width + 1))
    gen.rng.shuffle(keys)
    return " ORDER BY " + ", ".join(f"{key}{gen.pick(_DIRECTIONS)}" for key in keys)


def _ordered(gen: Generator, width: int) -> str:
    draw = gen.rng.random()
    if draw < 0.5:
        return ""
    order = ordering(gen, width)
    if draw < 0.7:
        return order
    limit = f" LIMIT {gen.pick((0, 1, 3, 10, 50))}"
    return order + limit + (f" OFFSET {gen.pick((1, 4, 20))}" if draw > 0.9 else "")
