"""Run the steps of a plan in order, and ask sources for the keys that the steps found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from tauro_nb.errors import QueryCancelled
from tauro_nb.query.literals import used_params
from tauro_nb.query.names import FRAGMENT, handed_table, leaf_kind
from tauro_nb.query.plan import whole_fragment

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from tauro_nb.engine.ahead import Ahead
    from tauro_nb.query.plan import Fragment, KeyFilter, QueryPlan

__all__ = ["Stages"]


class Stages:
    """One run of a plan's steps on one cursor; what they found lives as long as the cursor.

    Parameters
    ----------
    hand
        Registers a stream with the cursor.
    ahead
        Has fetched, or is fetching, some of the answers.
    """

    def __init__(
        self,
        plan: QueryPlan,
        cursor: duckdb.DuckDBPyConnection,
        hand: Callable[[str, Callable[[], pa.RecordBatchReader]], None],
        ahead: Ahead | None = None,
    ) -> None:
        self._plan = plan
        self._cursor = cursor
        self._hand = hand
        self._ahead = ahead
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
        for step in self._plan.steps:
            if stopped():
                raise QueryCancelled("the query was interrupted; every source was told to stop.")
            tree = self._ready(step.tree)
            table = handed_table(step.id).sql("duckdb")
            filled = self._execute(f"CREATE TEMP TABLE {table} AS {tree.sql('duckdb')}", tree).fetchone()
            fragment = whole_fragment(step.shown)
            if fragment is not None and not self._by_id[fragment].keys:
                self.counted[fragment] = filled[0]
        return self._ready(self._plan.residual)

    def _execute(self, sql: str, tree: exp.Expr) -> Any:
        return self._cursor.execute(sql, used_params(tree, self._plan.params) or None)

    def _ready(self, tree: exp.Expr) -> exp.Expr:
        """The tree with relations where fragments waited for keys."""
        tree = tree if self._ahead is None else self._ahead.ready(tree)
        if not any(fragment.keys for fragment in self._plan.fragments):
            return tree
        root = exp.Subquery(this=tree.copy())
        for node in [node for node in root.find_all(exp.Table) if leaf_kind(node) == FRAGMENT]:
            node.replace(self._relation(self._by_id[node.name]))
        ready: exp.Expr = root.this
        return ready

    def _relation(self, fragment: Fragment) -> exp.Expr:
        """How a fragment is read now: for its keys if they are few enough and can be written, otherwise whole."""
        keys = {key.mark: self._keys(key) for key in fragment.keys}
        scan = None
        if any(values is not None for values in keys.values()):
            scan = fragment.keyed(keys)
        if scan is None:
            scan = fragment.scan
            if scan.stream is None:
                assert fragment.unkeyed is not None
                return fragment.unkeyed.copy()
        else:
            self.shipped |= {mark: len(values) for mark, values in keys.items() if values is not None}
        if scan.stream is not None:
            self._hand(fragment.id, scan.stream)
            return handed_table(fragment.id)
        relation: exp.Expr = scan.relation.copy()
        return relation

    def _keys(self, key: KeyFilter) -> pa.Array | None:
        """The different keys of a step; None when there are more than pay."""
        column = exp.column(exp.to_identifier(key.column, quoted=True))
        query = (
            exp.select(column)
            .distinct()
            .from_(handed_table(key.step))
            .where(exp.not_(exp.Is(this=column.copy(), expression=exp.null())))
            .limit(key.most + 1)
        )
        found = self._cursor.execute(query.sql("duckdb")).to_arrow_table().column(0).combine_chunks()
        return None if len(found) > key.most else found
