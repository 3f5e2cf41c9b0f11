"""What a recursive query reads again and again is fetched once.

DuckDB runs the recursive part of a WITH once for each round, and scans in it what it scanned before: MariaDB's scanner
(1.5.5) crashes the process then, a stream is empty, and any source would be asked once a round.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from tauro_nb.query.names import FRAGMENT, RAW, leaf_kind
from tauro_nb.query.placement.edges import Slot
from tauro_nb.query.placement.reach import relations, stands_alone
from tauro_nb.query.plan import Fragment, Step
from tauro_nb.query.trees import bare, copied, every

__all__ = ["hold_repeated"]


def hold_repeated(tree: exp.Expr, fragments: tuple[Fragment, ...], number: int) -> tuple[Step, ...]:
    """Let steps stand for the relations of recursive parts, in place; they are numbered from `number` on."""
    by_id = {fragment.id: fragment for fragment in fragments}
    asked = {table for fragment in fragments for table in fragment.tables}
    steps: list[Step] = []
    for part in _repeated(tree):
        for slot in list(_slots(part)):
            if slot.scope.root() is not tree.root():
                continue  # it stands in a step
            read = [node for node in every(slot.relation, exp.Table) if _is_asked(node, asked)]
            if read and stands_alone(slot.relation):
                steps.append(_step(f"r{number + len(steps)}", slot, read, by_id))
    return tuple(steps)


def _repeated(tree: exp.Expr) -> Iterator[exp.Expr]:
    """The sides of recursive CTEs that speak of themselves."""
    for cte in every(tree, exp.CTE):
        clause, body = cte.parent, cte.this
        if isinstance(clause, exp.With) and clause.recursive and isinstance(body, exp.SetOperation):
            yield from (side for side in (body.this, body.expression) if _speaks_of(side, cte.alias.casefold()))


def _speaks_of(query: exp.Expr, name: str) -> bool:
    return any(not table.db and table.name.casefold() == name for table in every(query, exp.Table))


def _slots(part: exp.Expr) -> Iterator[Slot]:
    """Where relations stand, the outermost first."""
    for select in part.find_all(exp.Select):
        yield from (Slot.of(select, alias) for alias in relations(select))


def _is_asked(node: exp.Table, asked: set[str]) -> bool:
    return leaf_kind(node) == FRAGMENT or (leaf_kind(node) == RAW and node.name in asked)


def _step(name: str, slot: Slot, read: list[exp.Table], by_id: dict[str, Fragment]) -> Step:
    tree = exp.select("*").from_(bare(copied(slot.relation)), copy=False)
    tables = (by_id[node.name].tables if leaf_kind(node) == FRAGMENT else (node.name,) for node in read)
    slot.put_step(name)
    return Step(name, tree, copied(tree), tuple(dict.fromkeys(table for names in tables for table in names)))
