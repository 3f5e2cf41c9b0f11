"""Run the steps of a plan in order, and ask sources for the keys that the steps found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from sqlglot import exp

from tauro_nb.errors import QueryCancelled
from tauro_nb.query.literals import used_params
from tauro_nb.query.moment import fixed_calls
from tauro_nb.query.names import FRAGMENT, handed_table, leaf_kind
from tauro_nb.query.plan import whole_fragment
from tauro_nb.sources.keys import compared_alike, key_family

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from tauro_nb.engine.ahead import Ahead
    from tauro_nb.engine.marks import Written
    from tauro_nb.engine.moments import Moments
    from tauro_nb.engine.parallel import Parallel
    from tauro_nb.query.plan import Fragment, KeyFilter, QueryPlan

__all__ = ["Stages"]


class Stages:
    """One run of a plan's steps on one cursor; what they found lives as long as the cursor.

    Parameters
    ----------
    hand
        Registers a stream with the cursor.
    written
        Knows the SQL of the plan's trees.
    ahead
        Has fetched, or is fetching, some of the answers.
    parallel
        Fetches over several connections what goes into a table anyway; what the residual reads comes as it is needed.
    moments
        Has what is read of one server be of one moment.
    """

    def __init__(
        self,
        plan: QueryPlan,
        cursor: duckdb.DuckDBPyConnection,
        hand: Callable[[str, Callable[[], pa.RecordBatchReader]], None],
        written: Written,
        ahead: Ahead | None = None,
        parallel: Parallel | None = None,
        moments: Moments | None = None,
    ) -> None:
        self._plan = plan
        self._cursor = cursor
        self._hand = hand
        self._written = written
        self._ahead = ahead
        self._parallel = parallel
        self._moments = moments
        self._by_id: Mapping[str, Fragment] = {fragment.id: fragment for fragment in plan.fragments}
        self.shipped: dict[str, int] = {}
        """Keys that left, by mark of the filter; what is missing here was given up."""
        self.counted: dict[str, int] = {}
        """Rows of fragments that were read to their end."""

    def run(self, stopped: Callable[[], bool]) -> exp.Expr:
        """Fill the tables of all steps; returns the residual as it can run now.

        Parameters
        ----------
        stopped
            Asked between the steps.
        """
        self._fix_moment()
        if self._moments is not None:
            self._moments.open()
        for step in self._plan.steps:
            if stopped():
                raise QueryCancelled("the query was interrupted; every source was told to stop.")
            tree = self._ready(step.tree, self._parallel)
            # What was fetched is in tables already.
            kind = "VIEW" if self._parallel is not None and self._parallel.holds(tree) else "TABLE"
            name = handed_table(step.id).sql("duckdb")
            fill = partial(self._fill, f"CREATE TEMP {kind} {name} AS {self._written.text(tree)}", tree)
            filled = fill() if self._moments is None else self._moments.run(self._cursor, step.tree, fill)
            fragment = whole_fragment(step.shown)
            if fragment is not None and not self._by_id[fragment].keys:
                self.counted[fragment] = filled
        residual = self._ready(self._plan.residual)
        if self._moments is not None:
            self._moments.begin(self._cursor, self._plan.residual)
        return residual

    def _fix_moment(self) -> None:
        """Note what time it is, for all parts alike."""
        plan = self._plan
        trees = (plan.residual, *(step.tree for step in plan.steps))
        calls = plan.once("moment", lambda: fixed_calls(trees)) if plan.steps else {}
        if not calls:
            return
        self._cursor.begin()
        for name, call in calls.items():
            self._cursor.execute(f"SET VARIABLE {exp.to_identifier(name, quoted=True).sql('duckdb')} = (SELECT {call})")
        self._cursor.commit()

    def _fill(self, sql: str, tree: exp.Expr) -> int:
        found = self._cursor.execute(sql, used_params(tree, self._plan.params) or None).fetchone()
        return 0 if found is None else int(found[0])

    def _ready(self, tree: exp.Expr, parallel: Parallel | None = None) -> exp.Expr:
        """The tree with relations where fragments waited for keys."""
        tree = tree if self._ahead is None else self._ahead.ready(tree)
        if not any(leaf_kind(node) == FRAGMENT for node in tree.find_all(exp.Table)):
            return tree
        root = exp.Subquery(this=tree.copy())
        for node in [node for node in root.find_all(exp.Table) if leaf_kind(node) == FRAGMENT]:
            node.replace(self._relation(self._by_id[node.name], parallel))
        ready: exp.Expr = root.this
        return ready

    def _relation(self, fragment: Fragment, parallel: Parallel | None) -> exp.Expr:
        """How a fragment is read now: for its keys if they are few enough and can be written, otherwise whole."""
        keys = {key.mark: self._keys(key) for key in fragment.keys}
        sent = {mark: len(values) for mark, values in keys.items() if values is not None}
        scan = None
        if sent:
            fetched = None if parallel is None else parallel.fetch(fragment, keys, self._snapshot(fragment))
            if fetched is not None:
                self.shipped |= sent
                return fetched
            scan = fragment.keyed(keys)
        if scan is None:
            scan = fragment.scan
            if scan.stream is None:
                assert fragment.unkeyed is not None
                return fragment.unkeyed.copy()
        else:
            self.shipped |= sent
        if scan.stream is not None:
            self._hand(fragment.id, scan.stream)
            return handed_table(fragment.id)
        relation: exp.Expr = scan.relation.copy()
        return relation

    def _snapshot(self, fragment: Fragment) -> str | None:
        return None if self._moments is None else self._moments.snapshots.get(fragment.source)

    def _keys(self, key: KeyFilter) -> pa.Array | None:
        """The different keys of a step; None when there are more than pay, or of a type that is compared otherwise."""
        column = exp.to_identifier(key.column, quoted=True).sql("duckdb")
        step = handed_table(key.step).sql("duckdb")
        query = f"SELECT DISTINCT {column} FROM {step} WHERE {column} IS NOT NULL LIMIT {key.most + 1}"
        found = self._cursor.execute(query).to_arrow_table().column(0).combine_chunks()
        fit = len(found) <= key.most and compared_alike(key_family(found.type), key.family)
        return found if fit else None
