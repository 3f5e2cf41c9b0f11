"""Bind joins: the side of a join with few keys runs first, and the other side's source is asked for those alone."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from sqlglot import exp

from tauro_nb.query.names import FRAGMENT, LOCAL, RAW, STEP, leaf_kind, leaf_table
from tauro_nb.query.placement.cost import LOCAL_ROW, LOOKUPS, WORKED_ROW, Rates, asked, scanned
from tauro_nb.query.placement.edges import Edge, Slot, edges
from tauro_nb.query.placement.estimate import Estimator
from tauro_nb.query.placement.reach import fragment_column, plain_joins, reach, relations
from tauro_nb.query.placement.sieve import sieve
from tauro_nb.query.placement.tabular import is_tabular
from tauro_nb.query.plan import Fragment, KeyFilter, Step
from tauro_nb.query.secrecy import below_policy
from tauro_nb.query.trees import alias_of, bare, copied, every, known_type, owner_of
from tauro_nb.sources.capability import family
from tauro_nb.sources.keys import KeyForm, compared_alike, key_condition

if TYPE_CHECKING:
    from tauro_nb.query.planner import Planner
    from tauro_nb.sources.base import Source

__all__ = ["Reduction", "reduce_joins"]

_WORTH: Final = 0.003
"""Seconds that sending keys must be expected to save."""
_SETTLED_ROWS: Final = 1_000_000
"""An answer that is expected to be longer is joined as it streams in."""
_RESTRICTING: Final = (exp.Where, exp.Having, exp.Limit)
_CHEAP: Final = 5.0
"""A side that may keep fewer rows than are estimated is tried if running it first costs so many times less than all
rows of the other side, and no more than so many times the keys that pay are expected."""


@dataclass(frozen=True)
class Reduction:
    """A tree in which some relations are steps, with these steps and the fragments that wait for their keys."""

    tree: exp.Expr
    steps: tuple[Step, ...]
    fragments: tuple[Fragment, ...]


@dataclass(frozen=True, slots=True)
class _Way:
    """An edge over which keys could be sent: the fragment's column it reaches, of which family of types, in what form.

    What is found here holds while the SELECT is reduced: only relations as a whole become steps.
    """

    edge: Edge
    fragment: str
    column: str
    family: str
    form: KeyForm
    conditions: tuple[exp.Expr, ...]
    restricted: bool


@dataclass(frozen=True, slots=True)
class _Side:
    """What can run first: conditions that may be asked of it alone, and whether it leaves out rows."""

    conditions: tuple[exp.Expr, ...]
    restricted: bool

    @classmethod
    def of(cls, slot: Slot, params: Mapping[str, Any]) -> _Side | None:
        """What stands in a place; None if it reads something from outside."""
        relation = slot.relation
        if leaf_kind(relation) != STEP and not _stands_alone(relation, params):
            return None
        conditions = tuple(slot.conditions())
        return cls(conditions, bool(conditions) or bool(every(relation, *_RESTRICTING)))


@dataclass(frozen=True, slots=True)
class _Choice:
    """An edge that pays: seconds saved, the fragment it reaches, and the most keys that still pay."""

    edge: Edge
    saved: float
    fragment: str
    target: str
    family: str
    keys: float
    most: int
    share: float


@dataclass
class _Reducer:
    """Chooses edges one SELECT after the other, the innermost first; the best edge first, until none pays.

    What policies read takes no part: keys of rows that nobody has judged yet must not leave their source.
    """

    planner: Planner
    fragments: dict[str, Fragment]
    frames: Mapping[str, Any]
    steps: list[Step] = field(default_factory=list)
    scale: dict[str, float] = field(default_factory=dict)
    _estimates: Estimator | None = None
    _burdens: dict[str, tuple[float, float]] = field(default_factory=dict)

    def reduce(self, tree: exp.Expr) -> exp.Expr:
        """The tree with steps in it."""
        root = exp.Paren(this=tree)
        looking = []
        for select in reversed(list(root.find_all(exp.Select, bfs=False))):
            self._in_select(select)
            if _is_looked_through(select):
                looking.append(select)
            else:
                self._settle(select)
        # What arrives there is kept only then: the query around may have sent keys for it, or have become a step.
        for select in looking:
            if select.root() is root:
                self._settle(select)
        sieve(root, self.fragments, self._estimator())
        reduced: exp.Expr = root.this
        return reduced

    def _in_select(self, select: exp.Select) -> None:
        if below_policy(select):
            return
        sides: dict[Slot, _Side | None] = {}
        ways = [way for edge in dict.fromkeys(edges(select)) if (way := self._way(edge, sides)) is not None]
        while ways:
            choices = [choice for way in ways if (choice := self._price(way)) is not None]
            if not choices:
                return
            best = max(choices, key=lambda choice: choice.saved)
            self._apply(best)
            done = (best.edge.target, best.edge.column)
            ways = [
                way for way in ways
                if (way.edge.target, way.edge.column) != done and leaf_kind(way.edge.target.relation) != STEP
            ]  # fmt: skip

    def _settle(self, select: exp.Select) -> None:
        """Let small answers arrive before they are joined: of a table the engine knows how many rows it has.

        Of the answer to SQL and of a stream it takes the number for one, and joins in an order that can be the worst.
        """
        around = relations(select)
        if len(around) < 2 or not plain_joins(select):
            return
        for alias, relation in around.items():
            arriving = [self.fragments[node.name] for node in every(relation, exp.Table) if leaf_kind(node) == FRAGMENT]
            if not any(map(_is_asked, arriving)) or not _stands_alone(relation, self.planner.params):
                continue
            if self._estimator().rows(relation) <= _SETTLED_ROWS:
                self._make_step(Slot.of(select, alias))

    def _way(self, edge: Edge, sides: dict[Slot, _Side | None]) -> _Way | None:
        target = edge.target.relation
        reached = None if leaf_kind(target) == STEP else fragment_column(target, edge.column)
        if reached is None:
            return None
        fragment = self.fragments[reached[0]]
        accepted = self._accepts(fragment, reached[1])
        if accepted is None:
            return None
        if edge.reducer not in sides:
            sides[edge.reducer] = _Side.of(edge.reducer, self.planner.params)
        side, (form, kind) = sides[edge.reducer], accepted
        if side is None:
            return None
        if (known := _known_family(edge.reducer.relation, edge.key)) is not None and not compared_alike(known, kind):
            return None
        return _Way(edge, fragment.id, reached[1], kind, form, side.conditions, side.restricted)

    def _accepts(self, fragment: Fragment, column: str) -> tuple[KeyForm, str] | None:
        """How the fragment's source takes keys for a column, and of which family; None when it does not."""
        source = _source(fragment, self.planner)
        if source.capability is None or source.capability.keys is None:
            return None
        if any(self.planner.raw(name).decision.is_strict for name in fragment.tables):
            return None
        form, kind = source.capability.keys, self._family(fragment, column)
        return (form, kind) if kind in form.families else None

    def _family(self, fragment: Fragment, column: str) -> str:
        """The family of a fragment's column at its source; `other` where no key can be compared with it."""
        place = reach(fragment.tree, column)
        if place is None:
            return "other"
        kinds = {name.lower(): kind for name, kind in self.planner.raw(place.table).exact_types().items()}
        typed = exp.Column()
        typed.type = known_type(kinds.get(place.origin.lower(), "UNKNOWN"))
        return family(typed)

    def _estimator(self) -> Estimator:
        """Estimates over what was chosen so far."""
        if self._estimates is None:
            self._estimates = self._new_estimator()
        return self._estimates

    def _new_estimator(self) -> Estimator:
        steps = {step.id: float(step.estimated_rows or 1) for step in self.steps}
        handed = {name: float(frame.num_rows) for name, frame in self.frames.items()}
        trees = {step.id: step.shown.args["from_"].this for step in self.steps}
        return Estimator(self.planner.statistics, self.fragments, self.scale, steps | handed, trees)

    def _price(self, way: _Way) -> _Choice | None:
        estimator = self._estimator()
        edge, fragment, column = way.edge, self.fragments[way.fragment], way.column
        reducer, around = edge.reducer.relation, edge.reducer.around
        answer = fragment.tree
        left = estimator.rows(reducer)
        for condition in way.conditions:
            left *= estimator.keeps(condition, around)
        keys = min(estimator.distinct(reducer, edge.key), left)
        rows = estimator.rows(_read(fragment))
        distinct = min(estimator.distinct(answer, column), rows)
        width = estimator.width(answer, fragment.schema)
        rates = self.planner.services.knowledge.rates(_source(fragment, self.planner))
        stored, worked = self._burden(fragment)
        # What the source looks at without an answer, when it looks at all rows and when an index leads it to them.
        visited, each_visited = stored * rates.visited_row, stored / distinct * LOOKUPS * rates.visited_row
        plain = _plain_cost(fragment, rates, rows, width) + max(stored - rows, 0.0) * rates.visited_row + worked
        each = rates.key + worked / distinct + rows / distinct * (rates.row + width / rates.bandwidth)
        room = plain - rates.latency
        pays = (room - visited) / each
        if estimator.is_indexed(answer, column):
            pays = max(pays, room / (each + each_visited))
            visited = min(visited, keys * each_visited)
        most = int(min(pays, distinct * 0.9, way.form.most))
        before = 0.0 if leaf_kind(reducer) == STEP else left * LOCAL_ROW
        share = min(keys / distinct, 1.0)
        saved = plain - asked(rates, rows * share, width, keys) - worked * share - visited - before
        cheap = before * _CHEAP < plain and plain > _WORTH * _CHEAP and keys < most * _CHEAP
        cheap = cheap and (way.restricted or self._was_restricted(reducer))
        if most < 1 or (saved < _WORTH and not cheap):
            return None
        return _Choice(edge, saved, fragment.id, column, way.family, keys, most, share)

    def _burden(self, fragment: Fragment) -> tuple[float, float]:
        """Rows that a source stores of what a fragment reads, and the seconds it works on them, without keys."""
        if fragment.id not in self._burdens:
            estimator = self._estimator()
            self._burdens[fragment.id] = (estimator.stored(fragment.tree), _work(fragment.tree, estimator))
        return self._burdens[fragment.id]

    def _was_restricted(self, relation: exp.Expr) -> bool:
        """Whether a relation is a step that keeps rows away."""
        trees = (step.shown for step in self.steps if leaf_kind(relation) == STEP and step.id == relation.name)
        return any(every(tree, *_RESTRICTING) for tree in trees)

    def _apply(self, choice: _Choice) -> None:
        edge = choice.edge
        if leaf_kind(edge.reducer.relation) != STEP:
            self._make_step(edge.reducer)
        step = next(step for step in self.steps if step.id == edge.reducer.relation.name)
        fragment = self.fragments[choice.fragment]
        key = KeyFilter(
            step=step.id,
            column=edge.key,
            target=choice.target,
            family=choice.family,
            mark=f"keys_{uuid.uuid4().hex}",
            tables=step.tables,
            most=choice.most,
            estimated_keys=round(choice.keys),
        )
        self.fragments[fragment.id] = replace(fragment, keys=(*fragment.keys, key))
        self.scale[fragment.id] = self.scale.get(fragment.id, 1.0) * choice.share
        self._estimates = None

    def _make_step(self, slot: Slot) -> None:
        estimator, conditions = self._estimator(), slot.conditions()
        rows = estimator.rows(slot.relation)
        for condition in conditions:
            rows *= estimator.keeps(condition, slot.around)
        relation = copied(slot.relation)
        if not relation.alias_or_name:
            relation.set("alias", exp.TableAlias(this=exp.to_identifier("members", quoted=True)))
        tree = exp.Select(expressions=[exp.Star()]).from_(bare(relation), copy=False)
        if conditions:
            tree = tree.where(*(bare(copied(part)) for part in conditions), copy=False)
        step = Step(f"r{len(self.steps)}", tree, copied(tree), self._tables(tree), round(rows))
        self.steps.append(step)
        slot.put_step(step.id)
        self._estimates = None

    def _tables(self, tree: exp.Expr) -> tuple[str, ...]:
        """Virtual tables below, those of fragments and of steps before included."""
        by_step = {step.id: step.tables for step in self.steps}
        found: dict[str, None] = {}
        for node in every(tree, exp.Table):
            kind = leaf_kind(node)
            if kind == FRAGMENT:
                found.update(dict.fromkeys(self.fragments[node.name].tables))
            elif kind == STEP:
                found.update(dict.fromkeys(by_step[node.name]))
            elif kind == RAW:
                found[node.name] = None
        return tuple(found)


def reduce_joins(
    tree: exp.Expr, fragments: tuple[Fragment, ...], frames: Mapping[str, Any], planner: Planner
) -> Reduction:
    """Choose the joins that send keys, and write them into the tree and the fragments.

    The reduction is one more condition at a source: whatever the estimates, the join in the engine decides.
    """
    if not any(_takes_keys(fragment, planner) for fragment in fragments):
        return Reduction(tree, (), fragments)
    reducer = _Reducer(planner, {fragment.id: fragment for fragment in fragments}, frames)
    reduced = reducer.reduce(tree)
    made = tuple(_keyed(reducer.fragments[fragment.id], planner) for fragment in fragments)
    return Reduction(reduced, tuple(reducer.steps), made)


def _takes_keys(fragment: Fragment, planner: Planner) -> bool:
    capability = _source(fragment, planner).capability
    return capability is not None and capability.keys is not None


def _keyed(fragment: Fragment, planner: Planner) -> Fragment:
    """The fragment with its source's words for the keys it waits for."""
    if not fragment.keys:
        return fragment
    tree = copied(fragment.tree)
    for key in fragment.keys:
        place = reach(tree, key.target)
        assert place is not None
        place.select.where(key_condition(place.column.copy(), key.mark), copy=False)
    tables = {name: planner.raw(name).table for name in fragment.tables}
    keyed = _source(fragment, planner).keyed(replace(fragment, tree=tree), tables, planner.params)
    return replace(fragment, keyed=keyed)


def _source(fragment: Fragment, planner: Planner) -> Source:
    source = planner.raw(fragment.tables[0]).source
    assert source is not None
    return source


def _known_family(relation: exp.Expr, name: str) -> str | None:
    """The family of a relation's column, if the relation says it; what comes out is looked at once more."""
    query = relation.this if isinstance(relation, exp.Subquery) else None
    items = query.selects if isinstance(query, exp.Select) else []
    kinds = (family(item.unalias()) for item in items if item.alias_or_name.lower() == name.lower())
    return next((kind for kind in kinds if kind != "other"), None)


def _read(fragment: Fragment) -> exp.Expr:
    return leaf_table(fragment.id, FRAGMENT)


def _plain_cost(fragment: Fragment, rates: Rates, rows: float, width: float) -> float:
    """Seconds to get a fragment's answer without keys."""
    return asked(rates, rows, width) if _is_asked(fragment) else scanned(rates, rows, width)


def _work(tree: exp.Expr, estimator: Estimator) -> float:
    """Seconds that a source needs to join or group what it reads of its tables."""
    selects = every(tree, exp.Select)
    leaves = [select for select in selects if leaf_kind(next(iter(relations(select).values()), select)) == RAW]
    if len(leaves) < 2 and not any(select.args.get("group") for select in selects):
        return 0.0
    return sum(map(estimator.rows, leaves)) * WORKED_ROW


def _is_asked(fragment: Fragment) -> bool:
    """Whether rows come as the answer to SQL, and not by a scan of the engine's."""
    scan = fragment.scan
    return bool(fragment.keys) or (scan is not None and (scan.relation is not None or scan.stream is not None))


def _stands_alone(relation: exp.Expr, params: Mapping[str, Any]) -> bool:
    """Whether a relation can run before the query it is in: it reads no CTE and no column from outside, and fits."""
    if leaf_kind(relation) == LOCAL:
        return True
    if not isinstance(relation, exp.Subquery) or any(relation.args.get(name) for name in ("pivots", "sample", "joins")):
        return False
    if any(leaf_kind(table) is None for table in every(relation, exp.Table)) or not is_tabular(relation, params):
        return False
    inner = relation.this
    own = {alias_of(node) for node in every(inner, exp.Table, exp.Subquery) if node.alias_or_name}
    return not any(column.table and owner_of(column) not in own for column in every(inner, exp.Column))


def _is_looked_through(select: exp.Select) -> bool:
    """Whether a query is one that a condition or a value looks through, and no relation."""
    around = select.parent
    place = around.parent if isinstance(around, exp.Subquery) else around
    return place is not None and not isinstance(place, (exp.From, exp.Join, exp.CTE, exp.SetOperation, exp.Subquery))
