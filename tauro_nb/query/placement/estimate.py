"""How many rows a tree gives, and how many different values a column of it has, as far as statistics tell."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlglot import exp

from tauro_nb.catalog.statistics import ColumnStatistics, TableStatistics
from tauro_nb.query.names import FRAGMENT, LOCAL, RAW, STEP, leaf_kind
from tauro_nb.query.placement.met import Met
from tauro_nb.query.placement.reach import relations
from tauro_nb.query.plan import Fragment
from tauro_nb.query.secrecy import is_policy
from tauro_nb.query.trees import BARRIER, alias_of, conjuncts, disjuncts, every, owner_of

__all__ = ["Estimator", "is_decimal"]

Statistics = Callable[[str], TableStatistics]
Origin = tuple[str, ColumnStatistics | None]

# Taken when nothing is known.
_ROWS: Final = 100_000.0
_DISTINCT_SHARE: Final = 0.1
_TEXT_BYTES: Final = 24.0
_NUMBER_BYTES: Final = 8.0
# What a value takes on the wire besides its own bytes: its length, and the head of a decimal.
_FIELD_BYTES: Final = 4.0
_DECIMAL_BYTES: Final = 5.0

# The part of the rows that a condition keeps, where no statistics tell.
_EQUAL: Final = 0.01
_RANGE: Final = 0.3
_HAVING: Final = 0.05
"""Of groups: who writes HAVING looks for the few."""
_KEEPS: Final[Mapping[type[exp.Expr], float]] = {
    exp.NEQ: 0.9, exp.GT: _RANGE, exp.GTE: _RANGE, exp.LT: _RANGE, exp.LTE: _RANGE, exp.Between: 0.15, exp.Like: 0.1,
    exp.ILike: 0.1, exp.Is: 0.05, exp.Exists: 0.3, exp.In: 0.3, exp.EQ: _EQUAL,
}  # fmt: skip


_HALVES: Final = (exp.GT, exp.GTE, exp.LT, exp.LTE)
_NARROW: Final = 0.05
"""The least part of a half-open range that is taken for what a second bound leaves of it."""


class Estimator:
    """Estimates over one placed tree; every node is looked at once.

    Parameters
    ----------
    statistics
        Of a raw table, by name.
    fragments
        By id; where a source was asked how many rows it expects, that counts.
    scale
        The part of a fragment's rows that keys leave, by its id.
    known
        Rows of steps by id, and of frames by name.
    steps
        What a step's rows are of, by its id.
    blind
        Do as if policies hid nothing: what is decided then may be seen by anybody.
    """

    def __init__(
        self,
        statistics: Statistics,
        fragments: Mapping[str, Fragment],
        scale: Mapping[str, float] | None = None,
        known: Mapping[str, float] | None = None,
        steps: Mapping[str, exp.Expr] | None = None,
        *,
        blind: bool = False,
    ) -> None:
        self._statistics = statistics
        self._fragments = fragments
        self._scale = scale or {}
        self._known = known or {}
        self._steps = steps or {}
        self._blind = blind
        self._rows: dict[int, float] = {}
        self._origins: dict[tuple[int, str], Origin | None] = {}
        self._different: dict[tuple[int, str], float] = {}
        self._met: dict[int, Met] = {}
        self._kept: list[exp.Expr] = []

    def rows(self, node: exp.Expr) -> float:
        """Rows of a relation or query."""
        key = id(node)
        if key not in self._rows:
            # The node is kept, so that no other can get its id.
            self._kept.append(node)
            self._rows[key] = max(self._count(node), 1.0)
        return self._rows[key]

    def _count(self, node: exp.Expr) -> float:
        if isinstance(node, exp.Subquery):
            return self.rows(node.this)
        if isinstance(node, exp.Select):
            return self._selected(node)
        if isinstance(node, exp.SetOperation):
            return self.rows(node.left) + self.rows(node.right)
        kind = leaf_kind(node)
        if kind == RAW:
            return float(self._statistics(node.name).row_count or _ROWS)
        if kind == FRAGMENT:
            fragment = self._fragments[node.name]
            expected = None if fragment.scan is None else fragment.scan.rows
            rows = float(expected) if expected is not None else self.rows(fragment.tree)
            if expected is not None and len(fragment.tables) > 1 and not fragment.scan.seen:
                # Planners take the columns of a key for independent; too few rows are the dearer mistake.
                rows = max(rows, self.rows(fragment.tree))
            return rows * self._scale.get(node.name, 1.0)
        return self._known.get(node.name, _ROWS) if kind in (STEP, LOCAL) else _ROWS

    def joined(self, select: exp.Select) -> float:
        """Rows of a SELECT before they are grouped or cut."""
        around = relations(select)
        source, where = select.args.get("from_"), select.args.get("where")
        rows = self.rows(source.this) if source is not None else 1.0
        for join in select.args.get("joins") or []:
            right = self.rows(join.this)
            met = rows * right * self._kept_by(join.args.get("on"), around)
            # Every row of a preserved side stays.
            least = {"LEFT": rows, "RIGHT": right, "FULL": rows + right}.get(join.side.upper(), 0.0)
            rows = max(met, least)
        return max(rows * self._kept_by(where.this if where is not None else None, around), 1.0)

    def _kept_by(self, condition: exp.Expr | None, around: Mapping[str, exp.Expr]) -> float:
        return self.kept((part for part in conjuncts(condition) if not (self._blind and is_policy(part))), around)

    def kept(self, parts: Iterable[exp.Expr], around: Mapping[str, exp.Expr]) -> float:
        """The part of all combinations of rows that several conditions keep."""
        kept = 1.0
        joins: dict[frozenset[str], list[exp.EQ]] = {}
        ranges: dict[exp.Expr, list[float]] = {}
        for part in parts:
            node = part.unnest()
            sides = [side for side in (node.this, node.args.get("expression")) if isinstance(side, exp.Column)]
            if isinstance(node, _HALVES):
                ranges.setdefault(sides[0] if sides else node, []).append(self.keeps(node, around))
            elif isinstance(node, exp.EQ) and len(sides) == 2:
                joins.setdefault(frozenset(owner_of(side) for side in sides), []).append(node)
            else:
                kept *= self.keeps(part, around)
        for halves in ranges.values():
            # From one bound to the other is what both leave.
            kept *= halves[0] if len(halves) == 1 else max(sum(halves) - len(halves) + 1, min(halves) * _NARROW)
        for pairs in joins.values():
            kept *= self.keeps(pairs[0], around) if len(pairs) == 1 else self._kept_by_all(pairs, around)
        return kept

    def _kept_by_all(self, pairs: Sequence[exp.EQ], around: Mapping[str, exp.Expr]) -> float:
        """A key of several columns has no more values than its table has rows: their equalities are not independent."""
        values: dict[str, float] = {}
        for column in (side for pair in pairs for side in (pair.this, pair.expression)):
            alias = owner_of(column)
            stored = self.stored(around[alias]) if alias in around else _ROWS
            values[alias] = min(values.get(alias, 1.0) * self.distinct_of(column, around), max(stored, 1.0))
        return 1.0 / min(values.values())

    def _selected(self, select: exp.Select) -> float:
        rows = self._grouped(select, self.joined(select))
        limit = select.args.get("limit")
        if limit is not None and isinstance(limit.expression, exp.Literal) and limit.expression.name != BARRIER:
            rows = min(rows, float(limit.expression.name))
        return rows

    def _grouped(self, select: exp.Select, rows: float) -> float:
        group = select.args.get("group")
        if group is None:
            aggregated = any(isinstance(item.unalias(), exp.AggFunc) for item in select.expressions)
            return 1.0 if aggregated else rows
        groups = 1.0
        for part in group.expressions:
            groups *= self.distinct_of(part, relations(select)) if isinstance(part, exp.Column) else 100.0
        rows = min(groups, rows)
        return rows * _HAVING if select.args.get("having") is not None else rows

    def keeps(self, condition: exp.Expr, around: Mapping[str, exp.Expr]) -> float:
        """The part of all combinations of rows that a condition keeps."""
        node = condition.unnest()
        if isinstance(node, exp.Or):
            return min(sum(self.keeps(part, around) for part in disjuncts(node)), 1.0)
        if isinstance(node, exp.And):
            return self.kept(conjuncts(node), around)
        if isinstance(node, exp.Not):
            return max(1.0 - self.keeps(node.this, around), 0.05)
        kept = self._compared(node, around)
        # sqlglot has a NOT of some comparisons as a flag.
        return max(1.0 - kept, 0.05) if node.args.get("negate") else kept

    def _compared(self, node: exp.Expr, around: Mapping[str, exp.Expr]) -> float:
        left, right = node.this, node.args.get("expression")
        if isinstance(node, exp.EQ) and isinstance(left, exp.Column) and isinstance(right, exp.Column):
            return 1.0 / max(self._stored_distinct(left, around), self._stored_distinct(right, around))
        column = left if isinstance(left, exp.Column) else right if isinstance(right, exp.Column) else None
        usual = _KEEPS.get(type(node), _RANGE)
        if column is None:
            return usual
        facts = self._facts(column, around)
        if isinstance(node, exp.EQ):
            return 1.0 / facts.distinct_count if facts is not None and facts.distinct_count else usual
        if isinstance(node, exp.In) and node.expressions:
            one = 1.0 / facts.distinct_count if facts is not None and facts.distinct_count else _EQUAL
            return min(one * len(node.expressions), 1.0)
        span = None if facts is None else _span(node, column, facts)
        return usual if span is None else span

    def distinct_of(self, column: exp.Column, around: Mapping[str, exp.Expr]) -> float:
        """Different values of a column of one of the relations around it."""
        relation = around.get(owner_of(column))
        return _ROWS if relation is None else self.distinct(relation, column.name)

    def _stored_distinct(self, column: exp.Column, around: Mapping[str, exp.Expr]) -> float:
        """Different values before anything is left out: what is left out on two sides is not the same."""
        facts = self._facts(column, around)
        known = None if facts is None else facts.distinct_count
        return float(known) if known else self.distinct_of(column, around)

    def distinct(self, relation: exp.Expr, name: str) -> float:
        """Different values of a relation's column: never more than it has rows, or than what is equal to it has."""
        key = (id(relation), name)
        if key not in self._different:
            self._kept.append(relation)
            self._different[key] = max(min(self._distinct(relation, name), self._met_values(relation, name)), 1.0)
        return self._different[key]

    def _met_values(self, node: exp.Expr, name: str) -> float:
        """Values that the joins inside a relation leave of its column."""
        select = self._below(node)
        column = None if select is None else _output(select, name)
        if select is None or column is None:
            return math.inf
        around = relations(select)
        alias = owner_of(column) or next(iter(around), "")
        if alias not in around:
            return math.inf
        if len(around) == 1:
            return self._met_values(around[alias], column.name)
        if id(select) not in self._met:
            self._kept.append(select)
            self._met[id(select)] = Met.of(select, self.rows, self.distinct)
        return self._met[id(select)].values(alias, column.name)

    def _below(self, node: exp.Expr) -> exp.Select | None:
        """The SELECT that a relation's rows come from."""
        kind = leaf_kind(node)
        if kind == FRAGMENT:
            node = self._fragments[node.name].tree
        elif kind == STEP and node.name in self._steps:
            return self._below(self._steps[node.name])
        node = node.this if isinstance(node, exp.Subquery) else node
        return node if isinstance(node, exp.Select) else None

    def _distinct(self, relation: exp.Expr, name: str) -> float:
        rows = self.rows(relation)
        found = self._origin(relation, name)
        if found is None:
            return max(rows * _DISTINCT_SHARE, min(rows, 100.0))
        table, facts = found
        whole = float(self._statistics(table).row_count or _ROWS)
        if facts is None or facts.distinct_count is None:
            return max(min(rows, whole * _DISTINCT_SHARE), 1.0)
        different = float(facts.distinct_count)
        # Rows taken at random: with few values for many rows nearly all values are still there.
        share = min(rows / whole, 1.0)
        each = whole / max(different, 1.0)
        return float(max(min(rows, different * (1.0 - (1.0 - share) ** each)), 1.0))

    def domain(self, relation: exp.Expr, name: str) -> float:
        """Different values of a column where it is stored: of its table's rows, if no more is known."""
        found = self._origin(relation, name)
        if found is None:
            return self.rows(relation)
        table, facts = found
        known = None if facts is None else facts.distinct_count
        return float(known or self._statistics(table).row_count or _ROWS)

    def width(self, relation: exp.Expr, names: Mapping[str, str]) -> float:
        """Bytes on the wire of a row of a relation with the given columns and types."""
        total = 0.0
        for name, kind in names.items():
            found = self._origin(relation, name)
            known = found[1].average_bytes if found is not None and found[1] is not None else None
            total += known if known is not None else _TEXT_BYTES if kind == "VARCHAR" else _NUMBER_BYTES
            total += _FIELD_BYTES + _DECIMAL_BYTES * kind.startswith("DECIMAL")
        return total

    def stored(self, tree: exp.Expr) -> float:
        """Rows of all raw tables below, which a source looks at when no index helps."""
        return sum(self.rows(table) for table in every(tree, exp.Table) if leaf_kind(table) == RAW)

    def is_indexed(self, relation: exp.Expr, name: str) -> bool:
        """Whether the source finds rows by a column's value without looking at all of them; yes when not known."""
        found = self._origin(relation, name)
        return found is None or found[1] is None or found[1].indexed is not False

    def _facts(self, column: exp.Column, around: Mapping[str, exp.Expr]) -> ColumnStatistics | None:
        relation = around.get(owner_of(column))
        found = None if relation is None else self._origin(relation, column.name)
        return None if found is None else found[1]

    def _origin(self, node: exp.Expr, name: str) -> Origin | None:
        """The raw table and statistics of a column that passes through unchanged."""
        key = (id(node), name)
        if key not in self._origins:
            self._kept.append(node)
            self._origins[key] = self._find_origin(node, name)
        return self._origins[key]

    def _find_origin(self, node: exp.Expr, name: str) -> Origin | None:
        if isinstance(node, exp.Subquery):
            node = node.this
        if isinstance(node, exp.Select):
            column = _output(node, name)
            if column is None:
                return None
            inside = relations(node)
            below = inside.get(owner_of(column)) or (next(iter(inside.values())) if len(inside) == 1 else None)
            return None if below is None else self._origin(below, column.name)
        kind = leaf_kind(node)
        if kind == FRAGMENT:
            return self._origin(self._fragments[node.name].tree, name)
        if kind == STEP and node.name in self._steps:
            return self._origin(self._steps[node.name], name)
        if kind != RAW:
            return None
        columns, wanted = self._statistics(node.name).columns, name.lower()
        known = next((facts for key, facts in columns.items() if key.lower() == wanted), None)
        return node.name, known


def is_decimal(node: exp.Expr) -> bool:
    """Whether a node is known to be a DECIMAL; `is_type` would make a type to compare with."""
    kind = node.type
    return isinstance(kind, exp.DataType) and kind.this is exp.DType.DECIMAL


def _output(select: exp.Select, name: str) -> exp.Column | None:
    """The column that a SELECT hands out under a name as it is, but for its type."""
    wanted = name.lower()
    item = next((item for item in select.expressions if alias_of(item) == wanted), None)
    column = None if item is None else item.unalias()
    column = column.this if isinstance(column, exp.Cast) else column
    return column if isinstance(column, exp.Column) else None


def _span(node: exp.Expr, column: exp.Column, facts: ColumnStatistics) -> float | None:
    """The part of the way from minimum to maximum that a range covers."""
    low, high = _number(facts.minimum), _number(facts.maximum)
    if low is None or high is None or high <= low:
        return None
    if isinstance(node, exp.Between):
        start, end = _literal(node.args["low"]), _literal(node.args["high"])
    elif isinstance(node, (exp.GT, exp.GTE, exp.LT, exp.LTE)):
        other = node.expression if node.this is column else node.this
        bound = _literal(other)
        upward = isinstance(node, (exp.GT, exp.GTE)) == (node.this is column)
        start, end = (bound, high) if upward else (low, bound)
    else:
        return None
    if start is None or end is None:
        return None
    return min(max((min(end, high) - max(start, low)) / (high - low), 0.0), 1.0)


def _literal(node: exp.Expr) -> float | None:
    if isinstance(node, exp.Cast):
        node = node.this
    if isinstance(node, exp.Neg):
        inner = _literal(node.this)
        return None if inner is None else -inner
    return _number(node.name) if isinstance(node, exp.Literal) else None


def _number(value: Any) -> float | None:
    """A number or a moment as a number."""
    if isinstance(value, dt.datetime):
        return value.timestamp() / 86_400
    if isinstance(value, dt.date):
        return float(value.toordinal())
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        return float(dt.date.fromisoformat(str(value)[:10]).toordinal())
    except ValueError:
        return None
