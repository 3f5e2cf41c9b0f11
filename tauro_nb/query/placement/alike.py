"""Which columns must be equal because others are."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from sqlglot import exp

from tauro_nb.query.trees import copied, owner_of

__all__ = ["implied", "pair_of"]


def pair_of(condition: exp.Expr) -> tuple[exp.Column, exp.Column] | None:
    """The two columns that a condition says are equal, if it says that."""
    node = condition.unnest()
    if not isinstance(node, exp.EQ):
        return None
    left, right = node.this, node.expression
    return (left, right) if isinstance(left, exp.Column) and isinstance(right, exp.Column) else None


def implied(parts: Iterable[exp.Expr]) -> Iterator[exp.EQ]:
    """Equalities of columns of two relations that follow from two others: of one type, what equals one value is equal.

    >>> import sqlglot
    >>> parts = [sqlglot.parse_one(text) for text in ("a.x = b.x", "b.x = c.x")]
    >>> [part.sql() for part in implied(tuple(parts))]
    ['a.x = c.x']
    """
    known_pairs = (pair_of(part) for part in parts)
    pairs = [pair for pair in known_pairs if pair is not None and pair[0].type == pair[1].type]
    classes: list[dict[tuple[str, str], exp.Column]] = []
    for pair in pairs:
        found = {(owner_of(column), column.name.lower()): column for column in pair}
        met = [one for one in classes if one.keys() & found.keys()]
        classes = [one for one in classes if one not in met]
        classes.append({name: column for one in (*met, found) for name, column in one.items()})
    known = {frozenset((owner_of(column), column.name.lower()) for column in pair) for pair in pairs}
    for members in classes:
        for (left, one), (right, other) in itertools.combinations(members.items(), 2):
            if left[0] != right[0] and frozenset((left, right)) not in known:
                yield exp.EQ(this=copied(one), expression=copied(other))
