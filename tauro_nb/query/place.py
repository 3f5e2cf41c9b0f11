"""Sixth step: cut a secured query into fragments, one for each source that can answer its part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from sqlglot import exp

from tauro_nb.query.given import name_parameters, write_parameters
from tauro_nb.query.moment import fix_moment
from tauro_nb.query.names import (
    ANSWERS,
    FRAGMENT,
    LOCAL,
    RAW,
    STEP,
    frame_name,
    handed_table,
    is_leaf,
    leaf_kind,
    leaf_table,
)
from tauro_nb.query.placement.cost import RATES
from tauro_nb.query.placement.estimate import Estimator
from tauro_nb.query.placement.figures import figures
from tauro_nb.query.placement.merge import CHOSEN, merge_joins
from tauro_nb.query.placement.reduce import Reduction, reduce_joins
from tauro_nb.query.placement.repeated import fetched_once
from tauro_nb.query.placement.semi import move_semi_joins
from tauro_nb.query.placement.typed import typed
from tauro_nb.query.placement.unselective import is_unselective
from tauro_nb.query.plan import Fragment, QueryPlan, Step
from tauro_nb.query.query import Leaf, Query
from tauro_nb.query.raw_columns import raw_columns, untyped_columns
from tauro_nb.query.resolve import doubtful_names
from tauro_nb.query.rules.type_literals import type_literals
from tauro_nb.query.secrecy import below_policy, is_policy, mark_column, mark_policy
from tauro_nb.query.secure import cut_dictionaries, is_fenced
from tauro_nb.query.trees import alias_of, bare, children, conjuncts, copied, every, owner_of, quoted_column, type_node
from tauro_nb.sources.capability import Capability, carries_mask
from tauro_nb.sources.guards import is_condition

if TYPE_CHECKING:
    from tauro_nb.query.placement.cost import Rates
    from tauro_nb.query.planner import Planner
    from tauro_nb.sources.base import Source

__all__ = ["outline", "place"]

_ELSEWHERE = "it reads more than one source"
_LOCAL_REASON = "the engine scans it, with its projection and filters"


@dataclass
class _Cutter:
    """Walks a tree top-down and takes out the largest parts a single source can answer.

    Of a query that is not `qualified` nobody knows which relation a column is of: no part of a SELECT is moved. What
    it `outlines` is for display: nothing is asked or known of tables with a policy. Without a `choice` no source
    of its tables can be asked.
    """

    planner: Planner
    pushdown: bool = True
    sealed: bool = False
    qualified: bool = True
    policed: bool = False
    outlines: bool = False
    choice: bool = True
    fragments: list[Fragment] = field(default_factory=list)
    _judged: dict[int, tuple[exp.Query, Source | None, str | None]] = field(default_factory=dict)

    def cut(self, node: exp.Expr) -> None:
        """Take `node` as one fragment, or look for smaller ones inside."""
        for query in _topmost_queries(node):
            source, reason = self._judgement(query)
            self._judged.pop(id(query), None)
            if source is not None and reason is None and not self._is_spared(query, source):
                self._take(query, source, "the whole subtree can be answered there")
            elif is_leaf(query):
                self._take_apart(query, reason or "")
            else:
                self._descend(query)

    def _is_spared(self, query: exp.Query, source: Source) -> bool:
        """Whether a source that could answer a query would take longer than it takes to hand over its tables."""
        if is_leaf(query) or CHOSEN in (query._meta or {}) or source.connection.type not in RATES:  # noqa: SLF001 - `meta` makes one
            return False
        return is_unselective(query, self._estimator(), self._rates(source))

    def _take_apart(self, leaf: exp.Expr, reason: str) -> None:
        """Give the leaf's own source what it can apply; what else a policy reads in it is taken by itself."""
        assert isinstance(leaf, exp.Select)
        source = self._site(leaf.args["from_"].this)
        if source is None:
            self._take_local(leaf)
        else:
            self._take_leaf(leaf, source, reason)
        where = leaf.args.get("where")
        for part in (*leaf.expressions, *([where] if where is not None else [])):
            self.cut(part)

    def _descend(self, query: exp.Expr) -> None:
        if isinstance(query, exp.Select) and self.pushdown and self.qualified and not below_policy(query):
            estimator = self._estimator()
            move_semi_joins(query, self._whole_site, estimator, self._rates)
            merge_joins(query, self._whole_site, estimator, self._rates)
        for child in query.iter_expressions():
            self.cut(child)

    def _rates(self, source: Source) -> Rates:
        # What is shown is the same every time; how far away a server is changes by the minute.
        return RATES[source.connection.type] if self.outlines else self.planner.services.knowledge.rates(source)

    def _estimator(self) -> Estimator:
        told = self.planner.open_statistics if self.outlines else self.planner.statistics
        return Estimator(told, {}, blind=True)

    def _site(self, query: exp.Expr) -> Source | None:
        """The one source with a capability that holds every raw table below; None when there is no such."""
        found: Source | None = None
        if not self.choice:
            return None
        for table in every(query, exp.Table):
            if leaf_kind(table) != RAW:
                if not _defined_below(table, query):
                    return None
                continue
            source = self.planner.raw(table.name).source
            if source is None or source.capability is None or (found is not None and source is not found):
                return None
            found = source
        return found

    def _whole_site(self, relation: exp.Expr) -> Source | None:
        """The source that can answer all of a relation."""
        if not isinstance(relation, exp.Subquery) or any(relation.args.get(name) for name in ("pivots", "sample")):
            return None
        if not isinstance(relation.this, exp.Query):
            return None
        source, reason = self._judgement(relation.this)
        return source if reason is None else None

    def _judgement(self, query: exp.Query) -> tuple[Source | None, str | None]:
        """The one source of a query, and why it may not be asked for all of it; None when it may.

        What is found while the query around is rearranged holds until the query itself is cut.
        """
        if id(query) not in self._judged:
            source = self._site(query)
            reason = _ELSEWHERE if source is None else self._refusal(query, source)
            # The query is kept, so that no other can get its id.
            self._judged[id(query)] = query, source, reason
        return self._judged[id(query)][1:]

    def _refusal(self, query: exp.Query, source: Source) -> str | None:
        assert source.capability is not None
        if not self.pushdown:
            return "pushdown is switched off for this query"
        if _reaches_out(query):
            return "it refers to the query around it"
        names = [select.alias_or_name.lower() for select in query.selects]
        if len(set(names)) < len(names):
            return "two columns of its answer go by one name"
        if not self.qualified and (doubt := doubtful_names(query)):
            return doubt
        tables = (self.planner.raw(t.name).table for t in every(query, exp.Table) if leaf_kind(t) == RAW)
        ctes = every(query, exp.CTE)
        # The source's own SQL names tables without a mark; SQLite takes a CTE that reads its namesake for recursive.
        if any(map(_reads_its_namesake, ctes)) or (ctes and any(table.query for table in tables)):
            return "a CTE could take the place of a table in the source's own query, or of another CTE"
        return source.capability.refusal(query)

    def _take(self, query: exp.Query, source: Source, reason: str) -> None:
        policy, place = below_policy(query), exp.Select()
        query.replace(place)
        tree = bare(query)
        schema = raw_columns(tree, source, self.planner)
        names = [
            name if _is_unnamed(item) else item.alias_or_name for item, name in zip(tree.selects, schema, strict=True)
        ]
        if any(map(_is_unnamed, tree.selects)):
            _name(tree)
            schema = raw_columns(tree, source, self.planner)
        fragment = self._asked(self._fragment(source, tree, schema, reason, policy), source)
        place.replace(_answer(fragment, names, untyped_columns(tree, schema, self.planner)))

    def _take_leaf(self, leaf: exp.Select, source: Source, reason: str) -> None:
        """Give the source the conditions it can apply; masks and the rest stay above, in the engine."""
        assert source.capability is not None
        where = leaf.args.get("where")
        parts = list(conjuncts(where.this)) if where is not None else []
        pushed = [part for part in parts if self.pushdown and self._applies(part, source)]
        kept = [part for part in parts if not any(part is other for other in pushed)]
        raw = leaf.args["from_"].this
        handed = _hand_masks(leaf, kept, source.capability) if self.pushdown else {}
        needed = sorted({column.name for part in (*leaf.expressions, *kept) for column in _columns_of(part, raw)})
        selects = [
            exp.alias_(handed.get(name) or _inner(name, raw), name, quoted=True, copy=False) for name in needed
        ] or [exp.alias_(exp.Literal.number(1), "~one", quoted=True)]
        unasked = set(needed) - _asked_for(leaf, needed, kept)
        for select in selects:
            if select.alias in unasked:
                mark_column(select)
        scan = exp.Select(expressions=selects).from_(copied(raw))
        if pushed:
            scan = scan.where(*(copied(part) for part in pushed), copy=False)
        reason = f"{reason}; the rest stays in the engine"
        made = self._fragment(source, scan, raw_columns(scan, source, self.planner), reason, below_policy(leaf))
        fragment = self._asked(made, source)
        answer = _answer(fragment, list(fragment.schema))
        for select in answer.expressions:
            if select.alias in unasked:
                mark_column(select)
        raw.replace(exp.Subquery(this=answer, alias=copied(raw.args["alias"])))
        leaf.set("where", exp.Where(this=exp.and_(*kept, copy=False)) if kept else None)

    def _applies(self, part: exp.Expr, source: Source) -> bool:
        """Whether a source can apply a condition: it lists all of it, and holds what the condition reads besides."""
        assert source.capability is not None
        if (
            not is_condition(part)
            or source.capability.refusal(part) is not None
            or any(map(_correlated, every(part, exp.Subquery)))
        ):
            return False
        read = (self._site(table) for table in every(part, exp.Table) if leaf_kind(table))
        return all(site is source for site in read)

    def _take_local(self, leaf: exp.Select) -> None:
        """Note a scan that the engine does by itself; the tree stays as it is."""
        entry = self.planner.raw(leaf.args["from_"].this.name)
        if entry.source is None:
            return
        schema = {select.alias_or_name: "" for select in leaf.expressions}
        # Where nothing inside is cut any further, the tree and the fragment may share the leaf.
        tree = copied(bare(leaf)) if every(leaf, exp.Query)[1:] else leaf
        made = self._fragment(entry.source, tree, schema, _LOCAL_REASON, below_policy(leaf))
        self.fragments.append(replace(made, tables=(entry.table.name,)))

    def _asked(self, fragment: Fragment, source: Source) -> Fragment:
        """The fragment with the source's own words; a source may prefer that the engine scans a plain leaf."""
        if self.outlines and any(self.planner.raw(name).decision.needs_barrier for name in fragment.tables):
            self.fragments.append(fragment)
            return fragment
        tables = {name: self.planner.raw(name).table for name in fragment.tables}
        policed = self.policed and not self.outlines
        seen = partial(self.planner.services.actuals.of, self.planner.principal, source.connection.id, policed=policed)
        scan = source.scan(replace(fragment, seen=seen), tables, self.planner.params)
        rows = None if fragment.policy else seen(scan.sql)
        if rows is not None:
            scan = replace(scan, rows=rows, seen=True)
        scanned = scan.relation is None and scan.stream is None
        asked = replace(fragment, scan=scan, kind="relation" if scanned else "query")
        self.fragments.append(asked)
        return asked

    def _fragment(self, source: Source, tree: exp.Query, schema: dict[str, str], reason: str, policy: bool) -> Fragment:
        tables = tuple(dict.fromkeys(table.name for table in every(tree, exp.Table) if leaf_kind(table) == RAW))
        rows = [self.planner.shown_row_count(table) for table in tables]
        known = [count for count in rows if count is not None]
        facts = [item for table in tables for item in self.planner.raw(table).facts.items()]
        return Fragment(
            id=f"f{len(self.fragments)}",
            source=source.connection.id,
            kind="relation",
            tables=tables,
            tree=tree,
            schema=schema,
            estimated_rows=max(known) if known and len(known) == len(rows) else None,
            reason=reason,
            sealed=self.sealed,
            policy=policy,
            inexact=frozenset(name.lower() for name, fact in facts if not fact.exact),
        )


def _reads_its_namesake(cte: exp.Expr) -> bool:
    name = alias_of(cte)
    return any(table.name.lower() == name and not table.db for table in every(cte.this, exp.Table))


def _is_unnamed(item: exp.Expr) -> bool:
    return not isinstance(item, (exp.Alias, exp.Column, exp.Star))


def _name(tree: exp.Query) -> None:
    """Give a name to every value of a query that is not qualified: sources would each call it something else."""
    for number, item in enumerate(tree.selects):
        if _is_unnamed(item):
            item.replace(exp.alias_(item.copy(), f"value {number}", quoted=True, copy=False))


def _hand_masks(leaf: exp.Select, kept: list[exp.Expr], capability: Capability) -> dict[str, exp.Expr]:
    """Take the masks that the source answers itself out of a leaf: no raw value of theirs comes over.

    Returns them by the name under which they come back, which the leaf now reads.
    """
    masks = [
        item for item in leaf.expressions
        if isinstance(item, exp.Alias) and carries_mask(item.this) and capability.refusal(item.this) is None
    ]  # fmt: skip
    others = [item for item in leaf.expressions if not any(item is mask for mask in masks)]
    raw = leaf.args["from_"].this
    taken = {column.name.lower() for part in (*others, *kept) for column in _columns_of(part, raw)}
    handed = {}
    for item in masks:
        name = item.alias if item.alias.lower() not in taken else f"{item.alias}~masked"
        handed[name] = copied(item.this)
        item.set("this", mark_policy(_inner(name, raw)))
    return handed


def _columns_of(part: exp.Expr, raw: exp.Expr) -> Iterator[exp.Column]:
    """Columns of a leaf's own table; a subquery of its policy has others as well."""
    return (column for column in every(part, exp.Column) if column.table == raw.alias)


def _inner(name: str, raw: exp.Expr) -> exp.Column:
    return quoted_column(name, raw.alias)


def _asked_for(leaf: exp.Select, needed: list[str], kept: list[exp.Expr]) -> set[str]:
    """Which of the raw columns a leaf needs the query itself speaks of; the others only the policy reads."""
    spoken = {select.alias.lower() for select in leaf.expressions}
    spoken |= {column.name.lower() for part in kept if not is_policy(part) for column in every(part, exp.Column)}
    return {name for name in needed if name.lower() in spoken}


def place(query: Query, planner: Planner) -> QueryPlan:
    """Decide what each source answers, and what the engine does with the answers.

    Largest subtrees first: a query that lives on one source is one fragment. Whether a subtree may go
    is the source's capability table's word; files and DuckDB databases are scanned by the engine, whose
    optimizer reaches into the scan.
    """
    tree, fragments, given = _cut(query, planner)
    estimates = figures(tree, fragments, query.frames, planner.statistics, planner)
    fragments, reduction = estimates.fragments, None
    if query.qualified and query.pushdown:
        reduction = reduce_joins(copied(tree), fragments, query.frames, planner)
        fragments = reduction.fragments
    fragments = tuple(_with_fallback(fragment, planner) for fragment in fragments)
    reduced = Reduction(copied(tree), (), fragments) if reduction is None else reduction
    once, first = fetched_once(reduced.tree, reduced.steps, {fragment.id: fragment for fragment in fragments})
    residual, steps = _materialize(once, fragments, planner), _real_steps(first, fragments, planner)
    if steps:
        fix_moment((residual, *(step.tree for step in steps)))
    if given:
        # What runs and what is shown have the names again; what sources are asked was written with the values.
        texts = [text for part in fragments for text in (part.tree, part.unkeyed) if text is not None]
        for text in (tree, residual, *texts, *(text for step in steps for text in (step.tree, step.shown))):
            name_parameters(text)
    return QueryPlan(
        sql=query.text,
        tree=query.typed,
        principal=planner.principal.name,
        tables=tuple(leaf.table for leaf in query.leaves),
        columns={leaf.table: leaf.columns for leaf in query.leaves},
        fragments=fragments,
        residual=residual,
        shown=tree,
        steps=steps,
        streams={
            fragment.id: fragment.scan.stream
            for fragment in fragments
            if fragment.scan and fragment.scan.stream and not fragment.keys
        },
        schema=query.schema or {},
        policy_columns=_merged(query.policy_leaves),
        roles=query.roles,
        params=query.params,
        frames=query.frames,
        sources=_sources(fragments, planner),
        fenced=query.fenced,
        strict=query.strict,
        estimated_rows=estimates.rows,
        estimated_bytes=estimates.bytes,
        estimated_cost=estimates.cost,
    )


def outline(plan: QueryPlan, query: Query, planner: Planner) -> QueryPlan:
    """A plan for whoever may not know how much a table with a policy holds; it is looked at, not run.

    What is worth joining at a source goes by sizes and bounds, those of hidden rows among them. Here tables with a
    policy weigh as if nothing were known of them.
    """
    tree, fragments, given = _cut(query, planner, outlines=True)
    estimates = figures(tree, fragments, query.frames, planner.open_statistics, planner)
    for text in (tree, *(part.tree for part in fragments)) if given else ():
        name_parameters(text)
    return replace(
        plan,
        fragments=estimates.fragments,
        shown=tree,
        steps=(),
        estimated_rows=estimates.rows,
        estimated_bytes=estimates.bytes,
        estimated_cost=estimates.cost,
        outline=None,
    )


def _cut(query: Query, planner: Planner, *, outlines: bool = False) -> tuple[exp.Expr, tuple[Fragment, ...], bool]:
    """The tree over fragments, these, and whether values of parameters are written in both."""
    tree = copied(query.tree)
    sealed = _misleads_scanners(tree)
    choice = _has_choice(tree, planner)
    cutter = _Cutter(
        planner, query.pushdown, sealed, query.qualified, policed=query.fenced, outlines=outlines, choice=choice
    )
    given = False
    if query.qualified and choice:
        given = write_parameters(tree, query.params)
        tree = type_literals(typed(tree, planner))
    root = exp.Subquery(this=tree)
    cutter.cut(root)
    return bare(root.this), tuple(cutter.fragments), given


def _has_choice(tree: exp.Expr, planner: Planner) -> bool:
    """Whether any table lives at a source that can be asked."""
    sources = (planner.raw(table.name).source for table in every(tree, exp.Table) if leaf_kind(table) == RAW)
    return any(source is not None and source.capability is not None for source in sources)


def _merged(leaves: tuple[Leaf, ...]) -> dict[str, tuple[str, ...]]:
    """Tables with all columns that are read of each."""
    columns: dict[str, dict[str, None]] = {}
    for leaf in leaves:
        columns.setdefault(leaf.table, {}).update(dict.fromkeys(leaf.columns))
    return {table: tuple(names) for table, names in columns.items()}


def _sources(fragments: tuple[Fragment, ...], planner: Planner) -> dict[str, Source]:
    """Every source a plan reads; one connection can serve files of several formats."""
    found = (planner.raw(table).source for fragment in fragments for table in fragment.tables)
    return {f"{source.connection.id} {type(source).__name__}": source for source in found if source is not None}


def _materialize(tree: exp.Expr, fragments: tuple[Fragment, ...], planner: Planner) -> exp.Expr:
    """Put real relations in the place of fragments, frames and raw tables: what the engine will run."""
    by_id = {fragment.id: fragment for fragment in fragments}
    root = exp.Subquery(this=tree)
    for leaf in every(root, exp.Select):
        if is_fenced(leaf):
            cut_dictionaries(leaf)
    tables = every(root, exp.Table)
    while tables:
        node = tables.pop()
        kind = leaf_kind(node)
        if kind == FRAGMENT and not by_id[node.name].keys:
            answer = _answering(by_id[node.name])
            node.replace(answer)
            tables += every(answer, exp.Table)
        elif kind in (STEP, RAW, LOCAL):
            node.replace(_real_relation(node, kind, planner))
    materialized: exp.Expr = root.this
    return materialized


def _real_relation(node: exp.Table, kind: str, planner: Planner) -> exp.Expr:
    """What the engine reads where a step, a raw table or a frame stands."""
    alias = node.args.get("alias")
    if kind == STEP:
        relation: exp.Expr = handed_table(node.name)
    else:
        relation = handed_table(frame_name(node.name)) if kind == LOCAL else copied(planner.raw(node.name).relation)
        alias = alias or exp.TableAlias(this=exp.to_identifier(node.name, quoted=True))
    relation.set("alias", alias)
    return relation


def _real_steps(steps: tuple[Step, ...], fragments: tuple[Fragment, ...], planner: Planner) -> tuple[Step, ...]:
    return tuple(replace(step, tree=_materialize(step.tree, fragments, planner)) for step in steps)


def _with_fallback(fragment: Fragment, planner: Planner) -> Fragment:
    """A fragment that waits for keys also knows how it is read without them."""
    if not fragment.keys:
        return fragment
    return replace(fragment, unkeyed=_materialize(_answering(fragment), (), planner))


def _answering(fragment: Fragment) -> exp.Expr:
    """Where a fragment's answer comes from: the source's relation, a stream, or a scan by the engine."""
    if fragment.scan.stream is not None:
        return handed_table(fragment.id)
    scanned = fragment.scan.relation
    relation = copied(scanned) if scanned is not None else copied(fragment.tree).subquery(fragment.id, copy=False)
    relation.meta[ANSWERS] = fragment.id
    return relation


def _misleads_scanners(tree: exp.Expr) -> bool:
    """Whether DuckDB's optimizer may give the PostgreSQL scanner a filter that it gets wrong (both 1.5.5).

    ORDER BY x NULLS FIRST LIMIT 3 OFFSET 20: the filter keeps nothing but NULLs, and no row comes. A comparison
    with IS [NOT] DISTINCT FROM inside an OR: not implemented. Asked in SQL, the source's answer takes no filters.
    """
    return any(
        not isinstance(node, exp.Ordered) or node.args.get("nulls_first")
        for node in every(tree, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Ordered)
    )


def _topmost_queries(tree: exp.Expr) -> list[exp.Query]:
    """Queries at or below a node that are not inside another one, as they are written."""
    found: list[exp.Query] = []
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Query) and not isinstance(node, exp.Subquery):
            found.append(node)
        else:
            stack += reversed(children(node))
    return found


def _defined_below(table: exp.Table, query: exp.Expr) -> bool:
    """Whether a relation without mark is a CTE that belongs to `query` itself."""
    if table.db or isinstance(table.this, exp.Func):
        return False
    return any(cte.alias.lower() == table.name.lower() for cte in every(query, exp.CTE))


def _reaches_out(query: exp.Expr) -> bool:
    """Whether a column below belongs to a relation outside, or a scalar subquery depends on its own outside."""
    return _has_strangers(query) or any(map(_correlated, every(query, exp.Subquery)))


def _has_strangers(tree: exp.Expr) -> bool:
    """Whether a column below belongs to a relation that no SELECT between it and the top reads."""
    stack: list[tuple[exp.Expr, frozenset[str]]] = [(tree, frozenset())]
    while stack:
        node, known = stack.pop()
        if isinstance(node, exp.Column):
            if (owner := owner_of(node)) and owner not in known:
                return True
            continue
        if isinstance(node, exp.Select):
            places = (node.args.get("from_"), *(node.args.get("joins") or ()), *(node.args.get("laterals") or ()))
            relations = (place.this if isinstance(place, (exp.From, exp.Join)) else place for place in places if place)
            known = known | {alias_of(relation) for relation in relations}
        stack += [(child, known) for child in children(node)]
    return False


def _correlated(subquery: exp.Subquery) -> bool:
    """A scalar subquery (not EXISTS, not IN) that reads an outer column: sources run it once a row."""
    if isinstance(subquery.parent, (exp.From, exp.Join, exp.CTE, exp.SetOperation, exp.In, exp.Exists)):
        return False
    own = {alias_of(node) for node in every(subquery, exp.Table, exp.Subquery)}
    return any(column.table and owner_of(column) not in own for column in every(subquery, exp.Column))


def _answer(fragment: Fragment, names: list[str], untyped: frozenset[str] = frozenset()) -> exp.Select:
    """SELECT of a fragment's columns, cast to the types the plan expects, under the names the query uses.

    What is `untyped` stays a NULL of no type: a cast would decide what it becomes beside others.
    """
    selects = [
        exp.alias_(
            exp.Null() if column in untyped else exp.Cast(this=quoted_column(column), to=type_node(kind)),
            name,
            quoted=True,
            copy=False,
        )
        for name, (column, kind) in zip(names, fragment.schema.items(), strict=True)
    ]
    return exp.Select(expressions=selects).from_(leaf_table(fragment.id, FRAGMENT), copy=False)
